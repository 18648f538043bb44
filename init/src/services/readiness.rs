//! How a started service is known to be ready: a socket that accepts, or a message it sends. It waits; the bound is the machine's.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixDatagram, UnixStream};

/// Pause between tries to connect. The socket's file appears at bind(2); for the listen(2) that follows it the kernel has no event.
const LISTEN_RETRY: Duration = Duration::from_millis(10);

/// Returns once a connection to the unix socket is accepted.
pub(super) async fn socket_accepts(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, folder, WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    let watch = crate::sys::async_fd(watch)?;
    loop {
        while path.exists() {
            if UnixStream::connect(path).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(LISTEN_RETRY).await;
        }
        folder_changed(&watch).await?;
    }
}

async fn folder_changed(watch: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut guard = watch.readable().await?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    match rustix::io::read(watch.get_ref(), &mut buffer) {
        Ok(_) => {}
        Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The datagram socket a service sends `READY=1` to.
#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Makes the socket of one service in `folder`, for root only.
    pub(super) fn bind(folder: &Path, service: &str) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("notify-{service}.sock"));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { socket, path })
    }

    /// What the service finds in `NOTIFY_SOCKET`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns once the service says that it is ready.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let mut buffer = vec![0; 4096];
        loop {
            let count = self.socket.recv(&mut buffer).await?;
            if says_ready(&buffer[..count]) {
                return Ok(());
            }
        }
    }

    /// Receives and drops what else the service has to say, so that it never blocks on a full socket.
    pub(super) async fn drain(&self) -> io::Result<()> {
        loop {
            self.ready().await?;
        }
    }
}

/// Whether one message of the sd_notify protocol (lines of `NAME=value`) says `READY=1`.
fn says_ready(message: &[u8]) -> bool {
    message.split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_says_ready() {
        let cases: &[(&[u8], bool)] = &[
            (b"READY=1", true),
            (b"STATUS=up\nREADY=1\n", true),
            (b"READY=10", false),
            (b"XREADY=1", false),
            (b"", false),
            (b"\xff\n", false),
        ];
        for (message, expected) in cases {
            assert_eq!(says_ready(message), *expected, "{message:?}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_file_is_not_ready_until_somebody_listens() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let path = folder.path().join("sub/containerd.sock");
        let wait = {
            let path = path.clone();
            tokio::spawn(async move { socket_accepts(&path).await })
        };
        tokio::task::yield_now().await;
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        drop(tokio::net::UnixListener::bind(&path).expect("the folder is ours"));
        tokio::time::sleep(LISTEN_RETRY * 3).await;
        assert!(!wait.is_finished());
        std::fs::remove_file(&path).expect("it is there");
        let _listener = tokio::net::UnixListener::bind(&path).expect("the folder is ours");
        tokio::time::timeout(Duration::from_secs(5), wait).await.expect("in time").expect("no panic").expect("ready");
    }

    #[tokio::test]
    async fn a_notification_is_heard() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let notify = NotifySocket::bind(folder.path(), "k3s").expect("the folder is ours");
        let again = NotifySocket::bind(folder.path(), "k3s").expect("a stale one is replaced");
        drop(notify);
        let client = UnixDatagram::unbound().expect("a socket");
        client.send_to(b"STATUS=starting", again.path()).await.expect("it listens");
        client.send_to(b"READY=1\nMAINPID=7", again.path()).await.expect("it listens");
        tokio::time::timeout(Duration::from_secs(5), again.ready()).await.expect("in time").expect("ready");
    }
}
