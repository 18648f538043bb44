//! Drives that fail, as the kernel sees them: a file of our own file system (FUSE), which forgets, refuses, hangs or vanishes as a [`Fault`] says, with a
//! loop device on top, so that a program meets a real block device with its page cache, direct I/O and the kernel's own error codes.
//!
//! Needs root, /dev/fuse and free loop devices. What the drive really holds is read past all of it, from [`Drive::content`].

mod block;
mod fault;
mod fs;
#[path = "../../src/oracle.rs"]
#[expect(dead_code, reason = "the rig needs its rule about skipping alone")]
mod oracle;
mod store;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use fault::Fault;
use fuser::BackgroundSession;
use rustix::mount::{MountFlags, UnmountFlags};
use store::Store;

/// How long a sound drive may take for one answer, however busy the machine is: an answer is a copy of a few MiB in memory, which takes milliseconds.
/// `SKERRY_PATIENCE` multiplies it, as all deadlines of the tests.
pub(crate) fn patience() -> Duration {
    let times = std::env::var("SKERRY_PATIENCE").ok().and_then(|times| times.parse().ok());
    Duration::from_secs(30) * times.unwrap_or(1)
}

/// What takes longer has itself hung.
pub(crate) fn deadline() -> Duration {
    6 * patience()
}

/// How a drive is shown to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A block device.
    Block,
    /// A regular file, whose short writes no block layer hides.
    File,
}

/// A drive. Dropped, it is gone, whatever still waits for it.
pub(crate) struct Drive {
    /// What the program is told to write to.
    pub(crate) path: PathBuf,
    store: Arc<Store>,
    block: Option<block::Loop>,
    session: Option<BackgroundSession>,
    folder: tempfile::TempDir,
}

impl Drive {
    /// A drive that claims so many bytes, filled with what an earlier life left on it.
    pub(crate) fn new(bytes: u64, fault: Fault, shape: Shape) -> Self {
        Self::show(shape, |folder| Store::new(bytes, fault, folder))
    }

    /// A sound block device with this content.
    pub(crate) fn used(content: &[u8]) -> Self {
        Self::show(Shape::Block, |folder| {
            let store = Store::new(content.len() as u64, Fault::None, folder);
            store.put(0, content);
            store
        })
    }

    fn show(shape: Shape, store: impl FnOnce(PathBuf) -> Store) -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let store = Arc::new(store(folder.path().to_owned()));
        let session = fs::mount(Arc::clone(&store), folder.path());
        let file = folder.path().join(fs::FILE);
        let block = (shape == Shape::Block).then(|| block::Loop::attach(&file));
        let path = block.as_ref().map_or(file, |block| block.path().to_owned());
        Self { path, store, block, session: Some(session), folder }
    }

    /// What is really on it.
    pub(crate) fn content(&self, offset: u64, bytes: u64) -> Vec<u8> {
        self.store.content(offset, bytes)
    }

    /// Ends the drive's life: answers what hangs, so that whoever waits can end.
    pub(crate) fn release(&self) {
        self.store.release();
    }

    /// What the kernel does with a drive that is unplugged: it takes it away and fails its requests.
    pub(crate) fn take_away(&self) {
        if let Some(block) = self.block.as_ref().filter(|_| self.store.bytes() == 0 && self.hangs()) {
            block.look_again();
            self.release();
        }
    }

    /// Whether somebody waits for an answer that does not come.
    pub(crate) fn hangs(&self) -> bool {
        self.store.holds()
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.release();
        drop(self.block.take());
        pull(self.folder.path());
        drop(self.session.take());
        rustix::mount::unmount(self.folder.path(), UnmountFlags::DETACH).ok(); // gone already, most of the time
    }
}

/// Cuts the connection between the kernel and the file system, as if a cable was pulled.
fn pull(folder: &Path) {
    rustix::mount::unmount(folder, UnmountFlags::FORCE).ok(); // busy or not, the connection is cut
}

/// A device that is mounted.
pub(crate) struct Mounted(tempfile::TempDir);

impl Mounted {
    /// Mounts the ext4 file system on it.
    pub(crate) fn new(device: &Path) -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        rustix::mount::mount(device, folder.path(), "ext4", MountFlags::empty(), None).expect("mounted");
        Self(folder)
    }

    /// Where.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), UnmountFlags::empty()).expect("unmounted");
    }
}

/// A disk that is soon full.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// One of so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("temp folder");
        let size = CString::new(format!("size={bytes}")).expect("no zero in it");
        rustix::mount::mount("skerry-rig", folder.path(), "tmpfs", MountFlags::empty(), size.as_c_str()).expect("mounted");
        Self(folder)
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), UnmountFlags::DETACH).ok(); // nobody else knows of it
    }
}

/// Whether drives can be made here. Says why not; where nothing may be skipped, that is a failure.
pub(crate) fn usable() -> bool {
    let missing = if !rustix::process::geteuid().is_root() {
        "not root: the rig mounts and sets up loop devices"
    } else if !Path::new("/dev/fuse").exists() {
        "there is no /dev/fuse"
    } else if !Path::new("/dev/loop-control").exists() {
        "there is no /dev/loop-control"
    } else {
        return true;
    };
    oracle::skip(missing);
    false
}
