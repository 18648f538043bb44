//! TFTP's packets: reads what clients send, writes what a server sends, and settles a transfer's options. Pure; a datagram that is no packet of a
//! client gives an error and nothing else.

use std::ops::RangeInclusive;
use std::time::Duration;

/// RFC 1350's block.
const DEFAULT_BLOCK: u16 = 512;
/// The least block that is agreed to. RFC 2348 has 8, of which an image would take a hundred times the packets; no firmware asks for less than this.
const LEAST_BLOCK: u16 = DEFAULT_BLOCK;
/// Blocks under way at most; more gains nothing on a local network and would let one lost packet cost more.
const MOST_WINDOW: u16 = 64;
/// Seconds for an answer that are agreed to. RFC 2349 has 255, for which a client that is gone would keep its place for half an hour.
const TIMEOUTS: RangeInclusive<u64> = 1..=10;
/// How long an answer may take when the client wishes nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// IPv4, UDP and TFTP headers, which share a frame with a block.
const HEADERS: u16 = 20 + 8 + 4;
/// Bytes of a request at most.
pub const MOST_REQUEST: usize = 512;

/// Why a server gives up on a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// There is no such file.
    NotFound,
    /// It may not have it, or may not write.
    Access,
    /// What it said is no TFTP.
    Illegal,
    /// Anything else.
    Other,
}

impl ErrorCode {
    fn number(self) -> u16 {
        match self {
            Self::Other => 0,
            Self::NotFound => 1,
            Self::Access => 2,
            Self::Illegal => 4,
        }
    }
}

/// Why a first packet is no request that can be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It wants to write.
    #[error("nothing can be written here")]
    Write,
    /// Another mode than `octet`.
    #[error("files are sent in the mode octet only")]
    Mode,
    /// Not a request.
    #[error("this is no request to read a file")]
    Malformed,
}

impl RequestError {
    /// As TFTP numbers it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Write => ErrorCode::Access,
            Self::Mode | Self::Malformed => ErrorCode::Illegal,
        }
    }
}

/// A request to read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// The file's name, as sent.
    pub file: String,
    /// What it wishes, by lower-case name.
    options: Vec<(String, String)>,
}

/// How a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Bytes of a block.
    pub block: u16,
    /// Blocks before an acknowledgement.
    pub window: u16,
    /// How long to wait for one.
    pub timeout: Duration,
}

impl ReadRequest {
    /// The request in a first packet.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn parse(packet: &[u8]) -> Result<Self, RequestError> {
        let body = match packet {
            _ if packet.len() > MOST_REQUEST => return Err(RequestError::Malformed),
            [0, 1, body @ ..] => body,
            [0, 2, ..] => return Err(RequestError::Write),
            _ => return Err(RequestError::Malformed),
        };
        let mut words = body.strip_suffix(&[0]).ok_or(RequestError::Malformed)?.split(|byte| *byte == 0);
        let mut word = || words.next().map(|word| std::str::from_utf8(word).map(str::to_owned)).transpose();
        let mut next = || word().map_err(|_| RequestError::Malformed);
        let file = next()?.filter(|name| !name.is_empty()).ok_or(RequestError::Malformed)?;
        let mode = next()?.ok_or(RequestError::Malformed)?;
        if !mode.eq_ignore_ascii_case("octet") {
            return Err(RequestError::Mode);
        }
        let mut options = Vec::new();
        while let Some(name) = next()? {
            options.push((name.to_ascii_lowercase(), next()?.ok_or(RequestError::Malformed)?));
        }
        Ok(Self { file, options })
    }

    /// The terms for a file of `bytes` on a network with this MTU, and the options that are acknowledged, in the client's order; an option that is
    /// unknown or out of its range is left out, as RFC 2347 wants.
    pub fn terms(&self, bytes: u64, mtu: u16) -> (Terms, Vec<(&'static str, u64)>) {
        let mut terms = Terms { block: DEFAULT_BLOCK, window: 1, timeout: DEFAULT_TIMEOUT };
        let mut accepted: Vec<(&'static str, u64)> = Vec::new();
        for (name, value) in &self.options {
            // RFC 2347: an option stands once; what was agreed to first is what the client reads in the answer.
            if accepted.iter().any(|(known, _)| known == name) {
                continue;
            }
            let Ok(value) = value.parse::<u64>() else { continue };
            let small = u16::try_from(value);
            accepted.push(match (name.as_str(), small) {
                // RFC 2348: the server may answer with less.
                ("blksize", Ok(wish @ LEAST_BLOCK..=65464)) => {
                    terms.block = wish.min(mtu.saturating_sub(HEADERS).max(DEFAULT_BLOCK));
                    ("blksize", u64::from(terms.block))
                }
                ("windowsize", Ok(wish @ 1..)) => {
                    terms.window = wish.min(MOST_WINDOW);
                    ("windowsize", u64::from(terms.window))
                }
                ("timeout", Ok(_)) if TIMEOUTS.contains(&value) => {
                    terms.timeout = Duration::from_secs(value);
                    ("timeout", value)
                }
                ("tsize", _) => ("tsize", bytes),
                _ => continue,
            });
        }
        (terms, accepted)
    }
}

/// What a client sends during a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    /// It has this block and all before it.
    Ack(u16),
    /// It gives up.
    Error(u16),
}

impl Packet {
    /// The packet in a datagram; none: something else.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        match *datagram {
            [0, 4, high, low, ..] => Some(Self::Ack(u16::from_be_bytes([high, low]))),
            [0, 5, high, low, ..] => Some(Self::Error(u16::from_be_bytes([high, low]))),
            _ => None,
        }
    }
}

/// The packet of a block; its content follows.
pub fn data_header(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [0, 3, high, low]
}

/// The packet that acknowledges options.
pub fn option_ack(options: &[(&str, u64)]) -> Vec<u8> {
    let words: String = options.iter().map(|(name, value)| format!("{name}\0{value}\0")).collect();
    [&[0, 6], words.as_bytes()].concat()
}

/// The packet that ends it.
pub fn error(code: ErrorCode, message: &str) -> Vec<u8> {
    let [high, low] = code.number().to_be_bytes();
    [&[0, 5, high, low], message.replace('\0', " ").as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(words: &[&str]) -> Vec<u8> {
        let body: String = words.iter().map(|word| format!("{word}\0")).collect();
        [&[0, 1], body.as_bytes()].concat()
    }

    #[test]
    fn a_request_is_read() {
        let read = ReadRequest::parse(&request(&["boot/x", "OCTET", "TSize", "0", "blksize", "1468", "x", "y"])).expect("good");
        assert_eq!(read.file, "boot/x");
        assert_eq!(read.options[0], ("tsize".to_owned(), "0".to_owned()));
    }

    #[test]
    fn what_is_no_request_to_read_says_why() {
        let write = [&[0, 2], &b"f\0octet\0"[..]].concat();
        let long = request(&[&"f".repeat(MOST_REQUEST), "octet"]);
        for (packet, expected) in [
            (write, RequestError::Write),
            (request(&["f", "netascii"]), RequestError::Mode),
            (request(&["f", "mail"]), RequestError::Mode),
            (request(&["f"]), RequestError::Malformed),
            (request(&["", "octet"]), RequestError::Malformed),
            (request(&["f", "octet", "tsize"]), RequestError::Malformed),
            (b"\0\x01f\0octet".to_vec(), RequestError::Malformed),
            (b"\0\x01\xff\0octet\0".to_vec(), RequestError::Malformed),
            (b"\0\x03\0\x01".to_vec(), RequestError::Malformed),
            (vec![], RequestError::Malformed),
            (long, RequestError::Malformed),
        ] {
            assert_eq!(ReadRequest::parse(&packet), Err(expected), "{packet:?}");
        }
    }

    #[test]
    fn options_are_settled_as_their_rfcs_say() {
        let plain = Terms { block: 512, window: 1, timeout: DEFAULT_TIMEOUT };
        let with = |block, window| Terms { block, window, ..plain };
        for (words, expected, accepted) in [
            (vec![], plain, vec![]),
            (vec!["tsize", "0"], plain, vec![("tsize", 7000)]),
            (vec!["blksize", "1468"], with(1468, 1), vec![("blksize", 1468)]),
            (vec!["blksize", "65464"], with(1468, 1), vec![("blksize", 1468)]),
            (vec!["blksize", "512"], plain, vec![("blksize", 512)]),
            (vec!["blksize", "511"], plain, vec![]),
            (vec!["blksize", "8"], plain, vec![]),
            (vec!["blksize", "0"], plain, vec![]),
            (vec!["blksize", "65465"], plain, vec![]),
            (vec!["blksize", "70000"], plain, vec![]),
            (vec!["windowsize", "4", "blksize", "1024"], with(1024, 4), vec![("windowsize", 4), ("blksize", 1024)]),
            (vec!["windowsize", "9999"], with(512, 64), vec![("windowsize", 64)]),
            (vec!["windowsize", "0"], plain, vec![]),
            (vec!["timeout", "0"], plain, vec![]),
            (vec!["timeout", "10"], Terms { timeout: Duration::from_secs(10), ..plain }, vec![("timeout", 10)]),
            (vec!["timeout", "11"], plain, vec![]),
            (vec!["timeout", "255"], plain, vec![]),
            (vec!["timeout", "256"], plain, vec![]),
            (vec!["timeout", "-1"], plain, vec![]),
            (vec!["timeout", "x", "multicast", ""], plain, vec![]),
            (vec!["tsize", "0", "tsize", "0"], plain, vec![("tsize", 7000)]),
            (vec!["blksize", "1468", "blksize", "1024"], with(1468, 1), vec![("blksize", 1468)]),
        ] {
            let read = ReadRequest::parse(&request(&[&["f", "octet"], &words[..]].concat())).expect("good");
            assert_eq!(read.terms(7000, 1500), (expected, accepted), "{words:?}");
        }
        let read = ReadRequest::parse(&request(&["f", "octet", "timeout", "5", "blksize", "9000"])).expect("good");
        let (terms, _) = read.terms(1, 9000);
        assert_eq!((terms.timeout, terms.block), (Duration::from_secs(5), 8968));
    }

    #[test]
    fn a_servers_packets_have_these_bytes() {
        assert_eq!(data_header(258), [0, 3, 1, 2]);
        assert_eq!(option_ack(&[("tsize", 7), ("blksize", 1468)]), b"\0\x06tsize\x007\0blksize\x001468\0");
        assert_eq!(error(ErrorCode::NotFound, "no\0file"), b"\0\x05\0\x01no file\0");
    }

    proptest! {
        #[test]
        fn whatever_a_client_wishes_is_bounded(
            wishes in proptest::collection::vec(("(?i:blksize|windowsize|timeout|tsize|utimeout|[a-z]{0,3})", "-?[0-9]{0,21}|[ -~]{0,6}"), 0..12),
            bytes in any::<u64>(),
            mtu in any::<u16>(),
        ) {
            let words: Vec<&str> = ["f", "octet"].into_iter().chain(wishes.iter().flat_map(|(name, value)| [&**name, &**value])).collect();
            let packet = request(&words);
            let Ok(read) = ReadRequest::parse(&packet) else { return Err(TestCaseError::reject("too long")) };
            let (terms, accepted) = read.terms(bytes, mtu);
            prop_assert!((512..=mtu.saturating_sub(32).max(512)).contains(&terms.block), "{terms:?}");
            prop_assert!((1..=64).contains(&terms.window) && terms.timeout <= Duration::from_secs(10), "{terms:?}");
            for (name, value) in &accepted {
                let agreed = match *name {
                    "blksize" => u64::from(terms.block),
                    "windowsize" => u64::from(terms.window),
                    "timeout" => terms.timeout.as_secs(),
                    _ => bytes,
                };
                prop_assert_eq!(*value, agreed, "the client reads another {} than the server keeps to", name);
            }
            prop_assert!(accepted.len() <= 4 && option_ack(&accepted).len() <= 512);
            // A request cut short is another request or none; a packet never runs on into what is beside it.
            for end in 0..packet.len() {
                let _ = ReadRequest::parse(&packet[..end]).map(|read| read.terms(bytes, mtu));
            }
        }

        #[test]
        fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            Packet::parse(&bytes);
            let with_opcode = [&[0, 1], &bytes[..]].concat();
            if let Ok(read) = ReadRequest::parse(&with_opcode) {
                read.terms(u64::MAX, 0);
            }
        }
    }
}
