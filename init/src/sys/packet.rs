//! Packet sockets (packet(7)) for DHCP: bind to a link, filter in the kernel, send to everybody on the link.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use libc::{sock_filter, sock_fprog, sockaddr, sockaddr_ll, socklen_t};

/// Bytes of an Ethernet address.
const ETHERNET_BYTES: u8 = 6;

fn address(link: u32, destination: [u8; 6]) -> io::Result<sockaddr_ll> {
    let mut sll_addr = [0; 8];
    sll_addr[..6].copy_from_slice(&destination);
    Ok(sockaddr_ll {
        sll_family: libc::AF_PACKET.try_into().expect("a small constant"),
        sll_protocol: u16::try_from(libc::ETH_P_IP).expect("a 16-bit constant").to_be(),
        sll_ifindex: link.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: ETHERNET_BYTES,
        sll_addr,
    })
}

fn address_bytes() -> socklen_t {
    size_of::<sockaddr_ll>().try_into().expect("a few bytes")
}

/// Binds a packet socket to the IPv4 packets of one link.
pub(crate) fn bind_packet_socket(socket: impl AsFd, link: u32) -> io::Result<()> {
    let address = address(link, [0; 6])?;
    // SAFETY: the pointer is to a live sockaddr_ll and the length is its size; the kernel only reads it.
    let result = unsafe { libc::bind(socket.as_fd().as_raw_fd(), (&raw const address).cast::<sockaddr>(), address_bytes()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends an IPv4 packet to an Ethernet address of one link.
pub(crate) fn send_to_link(socket: impl AsFd, link: u32, destination: [u8; 6], packet: &[u8]) -> io::Result<usize> {
    let address = address(link, destination)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: both pointers are to live memory of the lengths given; the kernel only reads them.
    let sent = unsafe {
        libc::sendto(fd, packet.as_ptr().cast(), packet.len(), 0, (&raw const address).cast::<sockaddr>(), address_bytes())
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Lets only packets pass that a classic BPF program accepts; each instruction is (code, jt, jf, k).
pub(crate) fn attach_filter(socket: impl AsFd, program: &[(u16, u8, u8, u32)]) -> io::Result<()> {
    let mut filter: Vec<sock_filter> = program.iter().map(|&(code, jt, jf, k)| sock_filter { code, jt, jf, k }).collect();
    let length = filter.len().try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: `program` points to `length` live instructions and its own size is given; the kernel checks and copies the program.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<sock_fprog>().try_into().expect("a few bytes"),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
