//! DHCP as a boot server speaks it (RFC 2131, RFC 2132, RFC 4578): reads what boot firmware asks, writes offers and acknowledgements that name a
//! file and never an address. Whatever is not boot firmware's, or malformed, is nobody's message: it is not answered and not an error.

use std::net::Ipv4Addr;

use super::client::{self, Client, Platform};
use super::plan::Boot;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const MAC_BYTES: u8 = 6;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Fixed fields and the cookie; options follow.
const OPTIONS_AT: usize = 240;
/// BOOTP's least message; some firmware drops shorter ones.
const LEAST_BYTES: usize = 300;
const FILE_AT: usize = 108;
const FILE_BYTES: usize = 128;

/// Options by their numbers.
mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const MESSAGE_TYPE: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const VENDOR_CLASS: u8 = 60;
    pub(super) const BOOT_FILE: u8 = 67;
    pub(super) const USER_CLASS: u8 = 77;
    pub(super) const PLATFORM: u8 = 93;
    pub(super) const MACHINE_ID: u8 = 97;
    pub(super) const IPXE: u8 = 175;
    pub(super) const END: u8 = 255;
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Offers.
    Discover,
    /// What was offered.
    Request,
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// An offer.
    Offer,
    /// An acknowledgement.
    Ack,
}

/// A message of boot firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it wants.
    pub ask: Ask,
    /// Who it is.
    pub client: Client,
    /// The relay it came through; unspecified: none.
    pub relay: Ipv4Addr,
    /// The server it speaks to, if it names one.
    pub server: Option<Ipv4Addr>,
    /// The fixed fields, of which a reply repeats some.
    fixed: [u8; OPTIONS_AT],
    machine_id: Option<Vec<u8>>,
}

/// The message in a datagram, if it is one of boot firmware on Ethernet.
pub fn parse(datagram: &[u8]) -> Option<Request> {
    let (fixed, options) = datagram.split_first_chunk::<OPTIONS_AT>()?;
    let [BOOT_REQUEST, ETHERNET, MAC_BYTES, _hops, ..] = *fixed else { return None };
    if fixed[236..] != COOKIE {
        return None;
    }
    let ask = match find(options, option::MESSAGE_TYPE)? {
        [1] => Ask::Discover,
        [3] => Ask::Request,
        _ => return None,
    };
    let class = find(options, option::VENDOR_CLASS)?;
    let loader = client::loader(class, find(options, option::USER_CLASS), find(options, option::IPXE).is_some())?;
    // RFC 4578 allows a list, the best first.
    let platform = match find(options, option::PLATFORM) {
        Some([high, low, ..]) => Platform::of(u16::from_be_bytes([*high, *low])),
        Some(_) | None => Platform::Unsaid,
    };
    let mac = client::mac(fixed[28..34].try_into().expect("six bytes"));
    let server = find(options, option::SERVER).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    Some(Request {
        ask,
        client: Client { mac, loader, platform },
        relay: address_at(fixed, 24),
        server: server.map(Ipv4Addr::from),
        fixed: *fixed,
        machine_id: find(options, option::MACHINE_ID).map(<[u8]>::to_vec),
    })
}

fn address_at(fixed: &[u8; OPTIONS_AT], at: usize) -> Ipv4Addr {
    let bytes: [u8; 4] = fixed[at..at + 4].try_into().expect("four bytes");
    bytes.into()
}

/// The value of an option's first appearance. An option that is cut short ends the list.
fn find(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [option::PAD, rest @ ..] => options = rest,
            [option::END, ..] | [] | [_] => return None,
            [code, length, rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(*length))?;
                if *code == wanted {
                    return Some(value);
                }
                options = rest;
            }
        }
    }
}

impl Request {
    /// The reply that names what to boot and where it is. It assigns nothing: `yiaddr` is zero, which makes it a proxy's.
    pub fn reply(&self, say: Say, server: Ipv4Addr, boot: &Boot) -> Vec<u8> {
        let file = boot.file();
        let mut bytes = vec![0; OPTIONS_AT];
        bytes[..3].copy_from_slice(&[BOOT_REPLY, ETHERNET, MAC_BYTES]);
        bytes[4..8].copy_from_slice(&self.fixed[4..8]); // xid
        bytes[10..16].copy_from_slice(&self.fixed[10..16]); // flags, ciaddr
        bytes[20..24].copy_from_slice(&server.octets()); // siaddr
        bytes[24..44].copy_from_slice(&self.fixed[24..44]); // giaddr, chaddr
        if file.len() < FILE_BYTES {
            bytes[FILE_AT..FILE_AT + file.len()].copy_from_slice(file.as_bytes());
        }
        bytes[236..].copy_from_slice(&COOKIE);
        let kind = match say {
            Say::Offer => 2,
            Say::Ack => 5,
        };
        let class: &[u8] = match boot {
            Boot::Tftp(_) | Boot::Script(_) => b"PXEClient",
            Boot::Url(_) => b"HTTPClient",
        };
        put(&mut bytes, option::MESSAGE_TYPE, &[kind]);
        put(&mut bytes, option::SERVER, &server.octets());
        put(&mut bytes, option::VENDOR_CLASS, class);
        if let Some(id) = &self.machine_id {
            put(&mut bytes, option::MACHINE_ID, id); // PXE 2.1 has the server repeat it
        }
        // Last: firmware is known that writes a zero after it, over whatever comes next.
        put(&mut bytes, option::BOOT_FILE, file.as_bytes());
        bytes.push(option::END);
        bytes.resize(bytes.len().max(LEAST_BYTES), 0);
        bytes
    }
}

/// # Panics
/// For a value of more than 255 bytes: what is planned here is shorter.
fn put(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    let length = u8::try_from(value.len()).expect("what a boot server says in one option is short");
    bytes.extend([code, length]);
    bytes.extend(value);
}

#[cfg(test)]
pub(crate) mod testing {
    //! Requests as firmware makes them, for tests.

    use super::*;

    /// A request with these fields and options.
    pub(crate) fn request(mac: [u8; 6], options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS_AT];
        bytes[..4].copy_from_slice(&[BOOT_REQUEST, ETHERNET, MAC_BYTES, 0]);
        bytes[4..8].copy_from_slice(&[1, 2, 3, 4]);
        bytes[10] = 0x80;
        bytes[28..34].copy_from_slice(&mac);
        bytes[236..].copy_from_slice(&COOKIE);
        for (code, value) in options {
            put(&mut bytes, *code, value);
        }
        bytes.push(option::END);
        bytes
    }

    /// What a machine's UEFI asks first.
    pub(crate) fn discover(mac: [u8; 6], class: &str, platform: u16) -> Vec<u8> {
        let id = [0; 17];
        request(mac, &[(53, &[1]), (60, class.as_bytes()), (93, &platform.to_be_bytes()), (97, &id), (94, &[1, 3, 16])])
    }

    /// The value of an option in a reply.
    pub(crate) fn option_of(reply: &[u8], code: u8) -> Option<&[u8]> {
        find(&reply[OPTIONS_AT..], code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::{discover, option_of, request};
    use super::*;
    use crate::board::Architecture;
    use crate::serve::client::Loader;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0xab, 0, 1];

    #[test]
    fn a_firmwares_request_is_read() {
        let read = parse(&discover(MAC, "PXEClient:Arch:00007:UNDI:003016", 7)).expect("a request");
        assert_eq!(read.ask, Ask::Discover);
        assert_eq!(read.client.mac.as_str(), "52:54:00:ab:00:01");
        assert_eq!((read.client.loader, read.client.platform), (Loader::Pxe, Platform::Uefi(Architecture::X86_64)));
        let ipxe = request(MAC, &[(53, &[3]), (60, b"PXEClient"), (77, b"iPXE"), (54, &[10, 0, 0, 1])]);
        let read = parse(&ipxe).expect("a request");
        assert_eq!((read.ask, read.client.loader, read.client.platform), (Ask::Request, Loader::Ipxe, Platform::Unsaid));
        assert_eq!(read.server, Some(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn what_is_not_boot_firmwares_is_nobodys() {
        let good = discover(MAC, "PXEClient", 7);
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        for (name, bytes) in [
            ("a laptop", request(MAC, &[(53, &[1]), (60, b"MSFT 5.0")])),
            ("a phone", request(MAC, &[(53, &[1])])),
            ("BOOTP", request(MAC, &[(60, b"PXEClient")])),
            ("a decline", request(MAC, &[(53, &[4]), (60, b"PXEClient")])),
            ("a reply", changed(0, BOOT_REPLY)),
            ("another network", changed(1, 32)),
            ("a long hardware address", changed(2, 255)),
            ("no cookie", changed(236, 0)),
            ("cut in the fixed fields", good[..200].to_vec()),
            ("cut in an option", good[..OPTIONS_AT + 5].to_vec()),
            ("nothing", Vec::new()),
        ] {
            assert_eq!(parse(&bytes), None, "{name}");
        }
    }

    #[test]
    fn a_reply_names_a_file_and_gives_no_address() {
        let read = parse(&discover(MAC, "PXEClient", 7)).expect("a request");
        let server = Ipv4Addr::new(10, 0, 0, 1);
        let reply = read.reply(Say::Offer, server, &Boot::Tftp("ipxe/x86_64.efi".into()));
        assert_eq!(reply[..8], [2, 1, 6, 0, 1, 2, 3, 4]);
        assert_eq!(reply[16..20], [0; 4], "yiaddr");
        assert_eq!(reply[20..24], server.octets());
        assert_eq!(reply[28..34], MAC);
        assert_eq!(&reply[108..124], b"ipxe/x86_64.efi\0");
        assert_eq!(option_of(&reply, 53), Some(&[2][..]));
        assert_eq!(option_of(&reply, 60), Some(&b"PXEClient"[..]));
        assert_eq!(option_of(&reply, 67), Some(&b"ipxe/x86_64.efi"[..]));
        assert_eq!(option_of(&reply, 97), Some(&[0; 17][..]));
        for address in [1, 3, 6, 50, 51] {
            assert_eq!(option_of(&reply, address), None, "option {address}");
        }
        let reply = read.reply(Say::Ack, server, &Boot::Url("http://10.0.0.1/x".into()));
        assert_eq!((option_of(&reply, 53), option_of(&reply, 60)), (Some(&[5][..]), Some(&b"HTTPClient"[..])));
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), valid in any::<bool>()) {
            if valid && bytes.len() > OPTIONS_AT {
                bytes[..3].copy_from_slice(&[BOOT_REQUEST, ETHERNET, MAC_BYTES]);
                bytes[236..OPTIONS_AT].copy_from_slice(&COOKIE);
            }
            if let Some(read) = parse(&bytes) {
                read.reply(Say::Offer, Ipv4Addr::LOCALHOST, &Boot::Tftp("x".into()));
            }
        }

        #[test]
        fn a_damaged_request_is_nobodys_or_answered_in_form(
            changes in proptest::collection::vec((0..400usize, any::<u8>()), 0..8),
            kept in 0..700usize,
            more in proptest::collection::vec(any::<u8>(), 0..300),
            file in "[ -~]{0,200}",
        ) {
            let mut bytes = request(MAC, &[(53, &[1]), (97, &[7; 17]), (93, &[0, 7]), (77, b"iPXE"), (60, b"PXEClient")]);
            bytes.pop();
            bytes.extend(more);
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            bytes.truncate(kept);
            if let Some(read) = parse(&bytes) {
                let reply = read.reply(Say::Offer, Ipv4Addr::LOCALHOST, &Boot::Url(file.clone()));
                prop_assert!((LEAST_BYTES..1200).contains(&reply.len()), "{} bytes", reply.len());
                prop_assert_eq!(&reply[4..8], &bytes[4..8]);
                prop_assert_eq!(&reply[16..20], &[0; 4]);
                prop_assert_eq!(option_of(&reply, 67), Some(file.as_bytes()));
                prop_assert_eq!(option_of(&reply, 53), Some(&[2][..]));
            }
        }

        #[test]
        fn a_request_is_read_wherever_its_options_stand(noise in proptest::collection::vec((1..50u8, proptest::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let mut options: Vec<(u8, &[u8])> = noise.iter().map(|(code, value)| (*code, value.as_slice())).collect();
            options.extend([(60, &b"HTTPClient"[..]), (93, &[0, 16]), (53, &[1])]);
            let read = parse(&request(MAC, &options)).expect("a request");
            prop_assert_eq!(read.client.loader, Loader::Http);
        }
    }
}
