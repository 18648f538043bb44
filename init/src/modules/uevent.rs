//! The kernel's device events: a pure parser and the socket they come from.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};
use tokio::io::unix::AsyncFd;

/// Longest event the kernel sends.
const EVENT_BYTES: usize = 8192;

/// What init reads from an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uevent {
    /// `add`, `remove`, `change`, `bind`, …
    pub action: String,
    /// `block`, `net`, `pci`, …
    pub subsystem: String,
    /// Path below /sys.
    pub devpath: String,
    /// What a driver is looked up by; empty: none.
    pub modalias: String,
}

/// Reads `add@/devices/…\0ACTION=add\0SUBSYSTEM=block\0…`. Anything else (udev's own messages too) is none.
fn parse(message: &[u8]) -> Option<Uevent> {
    let mut parts = message.split(|byte| *byte == 0);
    let header = std::str::from_utf8(parts.next()?).ok()?;
    let (action, devpath) = header.split_once('@')?;
    let mut event = Uevent { action: action.to_owned(), devpath: devpath.to_owned(), ..Uevent::default() };
    for (key, value) in parts.filter_map(|part| std::str::from_utf8(part).ok()?.split_once('=')) {
        match key {
            "SUBSYSTEM" => event.subsystem = value.to_owned(),
            "MODALIAS" => event.modalias = value.to_owned(),
            _ => {}
        }
    }
    Some(event)
}

/// The kernel's event socket.
#[derive(Debug)]
pub struct UeventSocket(AsyncFd<OwnedFd>);

impl UeventSocket {
    /// Subscribes to the kernel's own group. Must be called inside the runtime.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        bind(&socket, &SocketAddrNetlink::new(0, 1))?;
        Ok(Self(crate::sys::async_fd(socket)?))
    }

    /// The next event. An overrun (the kernel sent more than the socket holds) is an error of kind `Other`: look at /sys again.
    pub async fn next(&self) -> io::Result<Uevent> {
        let mut buffer = vec![0; EVENT_BYTES];
        loop {
            let mut ready = self.0.readable().await?;
            let received = ready.try_io(|socket| Ok(recvfrom(socket.get_ref(), &mut buffer[..], RecvFlags::empty())?));
            match received {
                Ok(Ok((length, _, sender))) => {
                    // Processes with network privileges may send here too; only the kernel is believed.
                    let kernel = sender.and_then(|it| SocketAddrNetlink::try_from(it).ok()).is_some_and(|it| it.pid() == 0);
                    if let Some(event) = parse(&buffer[..length]).filter(|_| kernel) {
                        return Ok(event);
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read() {
        let message = b"add@/devices/pci0000:00/virtio0/block/vda\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=vda\0SEQNUM=900\0";
        let event = parse(message).expect("well-formed");
        assert_eq!((event.action.as_str(), event.subsystem.as_str()), ("add", "block"));
        assert_eq!(event.devpath, "/devices/pci0000:00/virtio0/block/vda");
        assert_eq!(event.modalias, "");
    }

    #[test]
    fn other_messages_are_no_event() {
        for message in [&b"libudev\0\xfe\xed\xca\xfe"[..], b"", b"\xff\xff@\0", b"no at sign\0"] {
            assert_eq!(parse(message), None);
        }
    }

    #[test]
    fn broken_values_are_passed_over() {
        let event = parse(b"add@/x\0SUBSYSTEM=\xff\0MODALIAS=pci:v1\0noequals\0").expect("the header is fine");
        assert_eq!((event.subsystem.as_str(), event.modalias.as_str()), ("", "pci:v1"));
    }
}
