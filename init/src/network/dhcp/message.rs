//! The DHCP message (RFC 2131 section 2): fixed header, magic cookie, options. Parses what a server sends, writes what a client sends.
//!
//! It reads the header and splits the options; what an option's bytes mean is the business of `lease`.

use std::net::Ipv4Addr;

use super::options::{Code, Options};

/// Bytes of the fixed header.
const HEADER_BYTES: usize = 236;

/// Starts the options (RFC 2131 section 3).
const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// Relays may drop messages shorter than BOOTP's 300 bytes (RFC 1542 section 2.1).
const MIN_BYTES: usize = 300;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const HARDWARE_ETHERNET: u8 = 1;

/// Why bytes are no DHCP message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Shorter than header and cookie.
    #[error("cannot read a DHCP message of {bytes} bytes: it is cut short")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// Not a reply, not for Ethernet, or without the cookie.
    #[error("cannot read a DHCP message: {what}")]
    Header {
        /// What is wrong.
        what: &'static str,
    },
    /// An option runs past the end.
    #[error("cannot read DHCP option {code}: it is cut short")]
    Option {
        /// Which.
        code: u8,
    },
}

/// The message types a client sends or understands (RFC 2132 section 9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// Who is there?
    Discover,
    /// A server offers an address.
    Offer,
    /// The client wants that address, or wants to keep it.
    Request,
    /// The server grants it.
    Ack,
    /// The server refuses it.
    Nak,
}

impl MessageType {
    /// The number on the wire.
    pub fn to_wire(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Ack => 5,
            Self::Nak => 6,
        }
    }

    /// The type with this number; none: one that a client has no use for.
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::Discover, Self::Offer, Self::Request, Self::Ack, Self::Nak].into_iter().find(|kind| kind.to_wire() == number)
    }
}

/// One message. Header fields that a client neither sets nor reads are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The number that ties a reply to its request.
    pub xid: u32,
    /// Seconds since the client began to ask.
    pub secs: u16,
    /// The client's address, once it has one.
    pub ciaddr: Ipv4Addr,
    /// The address the server gives.
    pub yiaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: [u8; 6],
    /// What else is said.
    pub options: Options,
}

impl Message {
    /// The message type; none when it is missing or of no use to a client.
    pub fn kind(&self) -> Option<MessageType> {
        MessageType::from_wire(*self.options.get(Code::MessageType)?.first()?)
    }

    /// The bytes a client sends.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[0] = BOOT_REQUEST;
        bytes[1] = HARDWARE_ETHERNET;
        bytes[2] = 6;
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.secs.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.ciaddr.octets());
        bytes[28..34].copy_from_slice(&self.chaddr);
        bytes.extend(MAGIC);
        self.options.encode(&mut bytes);
        bytes.resize(bytes.len().max(MIN_BYTES), 0);
        bytes
    }

    /// Reads a server's reply.
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let short = || MessageError::Short { bytes: bytes.len() };
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
        let (cookie, options) = rest.split_at_checked(MAGIC.len()).ok_or_else(short)?;
        if header[0] != BOOT_REPLY {
            return Err(MessageError::Header { what: "it is not a reply" });
        }
        if header[1] != HARDWARE_ETHERNET || header[2] != 6 {
            return Err(MessageError::Header { what: "it is not for Ethernet" });
        }
        if cookie != MAGIC {
            return Err(MessageError::Header { what: "it has no magic cookie" });
        }
        let mut chaddr = [0; 6];
        chaddr.copy_from_slice(&header[28..34]);
        Ok(Self {
            xid: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            secs: u16::from_be_bytes([header[8], header[9]]),
            ciaddr: address(&header[12..16]),
            yiaddr: address(&header[16..20]),
            chaddr,
            options: Options::parse(options, &header[108..236], &header[44..108])?,
        })
    }
}

fn address(bytes: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server sends: the client's encoding with the reply's header fields.
    pub(in crate::network::dhcp) fn encode_reply(message: &Message) -> Vec<u8> {
        let mut bytes = message.encode();
        bytes[0] = BOOT_REPLY;
        bytes[16..20].copy_from_slice(&message.yiaddr.octets());
        bytes
    }

    fn sample() -> Message {
        let mut options = Options::default();
        options.set(Code::MessageType, &[2]);
        options.set(Code::SubnetMask, &[255, 255, 255, 0]);
        Message {
            xid: 0x0102_0304,
            secs: 7,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::new(10, 0, 2, 15),
            chaddr: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
            options,
        }
    }

    #[test]
    fn a_reply_round_trips() {
        let message = sample();
        let bytes = encode_reply(&message);
        assert_eq!(bytes.len(), MIN_BYTES);
        assert_eq!(Message::parse(&bytes), Ok(message));
    }

    #[test]
    fn broken_messages_are_named() {
        let good = encode_reply(&sample());
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Message::parse(&bytes)
        };
        assert_eq!(Message::parse(&good[..200]), Err(MessageError::Short { bytes: 200 }));
        assert_eq!(Message::parse(&good[..238]), Err(MessageError::Short { bytes: 238 }));
        assert_eq!(with(0, 1), Err(MessageError::Header { what: "it is not a reply" }));
        assert_eq!(with(1, 6), Err(MessageError::Header { what: "it is not for Ethernet" }));
        assert_eq!(with(239, 0), Err(MessageError::Header { what: "it has no magic cookie" }));
        assert_eq!(Message::parse(&good[..248]), Err(MessageError::Option { code: 1 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let _ = Message::parse(&bytes);
            if bytes.len() > 240 {
                bytes[..3].copy_from_slice(&[BOOT_REPLY, HARDWARE_ETHERNET, 6]);
                bytes[236..240].copy_from_slice(&MAGIC);
                if let Ok(message) = Message::parse(&bytes) {
                    let _ = super::super::Lease::from_ack(&message);
                }
            }
        }
    }
}
