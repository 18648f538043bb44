//! Tells the supervisor that it is up, as k3s does: `READY=1` in a datagram to the socket named by `NOTIFY_SOCKET`.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::{Context, Result};

/// Says that it is up; nobody asked is an answer too.
pub(crate) fn ready() -> Result<()> {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let name = name.into_string().ok().context("NOTIFY_SOCKET is not text")?;
    let address = address(&name).with_context(|| format!("NOTIFY_SOCKET `{name}` is no socket's name"))?;
    let socket = UnixDatagram::unbound().context("cannot make a socket")?;
    socket.send_to_addr(b"READY=1", &address).with_context(|| format!("cannot notify {name}"))?;
    Ok(())
}

/// A path, or after `@` a name in the kernel's abstract space.
fn address(name: &str) -> std::io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_socket_names_are_understood() {
        assert_eq!(address("@skerry").unwrap().as_abstract_name(), Some(b"skerry".as_slice()));
        assert_eq!(address("/run/notify").unwrap().as_pathname(), Some("/run/notify".as_ref()));
    }
}
