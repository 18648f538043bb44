//! IPv4 and UDP headers around a DHCP message, for the time before the link has an address and the kernel would not route.
//!
//! Reads datagrams for the client's port only. UDP checksums of what arrives are not checked: virtual network cards deliver them unfinished, and
//! the transaction number and the option parser catch what is damaged.

use std::net::Ipv4Addr;

use super::{CLIENT_PORT, SERVER_PORT};

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const PROTOCOL_UDP: u8 = 17;
const TTL: u8 = 64;

/// A broadcast datagram from `source` (unspecified while there is no address) to the servers' port.
pub(super) fn encode(source: Ipv4Addr, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_bytes = u16::try_from(UDP_HEADER + payload.len()).ok()?;
    let total = udp_bytes.checked_add(20)?;
    let destination = Ipv4Addr::BROADCAST;

    let mut udp = Vec::with_capacity(udp_bytes.into());
    udp.extend(CLIENT_PORT.to_be_bytes());
    udp.extend(SERVER_PORT.to_be_bytes());
    udp.extend(udp_bytes.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let [high, low] = udp_bytes.to_be_bytes();
    let pseudo = [&source.octets()[..], &destination.octets(), &[0, PROTOCOL_UDP, high, low]].concat();
    // RFC 768: a sum of zero is sent as all ones, because zero means "no checksum".
    let sum = match checksum(&[&pseudo, &udp]) {
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());

    let mut packet = vec![0; IP_HEADER];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8] = TTL;
    packet[9] = PROTOCOL_UDP;
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp);
    Some(packet)
}

/// The payload of a datagram from a server to the client's port; none: something else, or cut short.
pub(super) fn decode(packet: &[u8]) -> Option<&[u8]> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
    if packet[0] >> 4 != 4 || header < IP_HEADER || *packet.get(9)? != PROTOCOL_UDP || fragment != 0 {
        return None;
    }
    let udp = packet.get(header..total)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    if port(0)? != SERVER_PORT || port(2)? != CLIENT_PORT {
        return None;
    }
    udp.get(UDP_HEADER..usize::from(port(4)?))
}

/// The Internet checksum (RFC 1071) over parts of even length, the last of any.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_server(payload: &[u8]) -> Vec<u8> {
        let mut packet = encode(Ipv4Addr::new(10, 0, 2, 2), payload).expect("it fits");
        packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
        packet
    }

    #[test]
    fn headers_are_as_the_rfcs_want_them() {
        let packet = encode(Ipv4Addr::UNSPECIFIED, b"abc").expect("it fits");
        assert_eq!(checksum(&[&packet[..20]]), 0, "the IP checksum closes");
        let pseudo = [&packet[12..20], &[0, 17, 0, 11]].concat();
        assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0, "the UDP checksum closes");
        assert_eq!(hex::encode(&packet[..12]), "4500001f00000000401179ce".replace("79ce", &hex::encode(&packet[10..12])));
        assert_eq!(hex::encode(&packet[20..26]), "00440043000b");
    }

    #[test]
    fn a_reply_is_unwrapped_and_padding_left_behind() {
        let mut packet = from_server(b"hello");
        packet.extend([0; 13]);
        assert_eq!(decode(&packet), Some(&b"hello"[..]));
    }

    #[test]
    fn what_is_not_a_reply_is_left_alone() {
        let good = from_server(b"hello");
        for (at, value, what) in [
            (0, 0x65, "IPv6"),
            (0, 0x44, "a header that is too short"),
            (3, 200, "longer than it is"),
            (6, 0x20, "a fragment"),
            (9, 6, "TCP"),
            (21, 53, "DNS"),
            (23, 69, "another port"),
            (25, 3, "a UDP length that is too short"),
            (25, 200, "a UDP length past the end"),
        ] {
            let mut packet = good.clone();
            packet[at] = value;
            assert_eq!(decode(&packet), None, "{what}");
        }
        for length in 0..good.len() {
            assert_eq!(decode(&good[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn a_message_longer_than_a_datagram_is_not_sent() {
        assert_eq!(encode(Ipv4Addr::UNSPECIFIED, &[0; 65_530]), None);
    }
}
