//! DHCP options (RFC 2132): splitting the list, joining what was split (RFC 3396), and the space in the header fields (option 52).
//!
//! Options this client has no use for are kept as bytes and otherwise ignored.

use std::collections::BTreeMap;

use super::message::MessageError;

const PAD: u8 = 0;
const END: u8 = 255;

/// The options this client sends or reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Mask of the address.
    SubnetMask,
    /// Default gateways, best first.
    Router,
    /// DNS servers, best first.
    DnsServers,
    /// The client's name.
    HostName,
    /// One DNS search domain.
    DomainName,
    /// MTU of the link.
    Mtu,
    /// The address the client wants.
    RequestedAddress,
    /// Seconds the address may be used.
    LeaseTime,
    /// The header's `file` and `sname` carry options too.
    Overload,
    /// What kind of message this is.
    MessageType,
    /// Which server speaks, or is spoken to.
    ServerId,
    /// What the client wants to be told.
    ParameterList,
    /// The server's words on a refusal.
    Message,
    /// Largest message the client takes.
    MaxMessageSize,
    /// Seconds until renewal.
    RenewalTime,
    /// Seconds until rebinding.
    RebindingTime,
    /// What kind of client this is.
    VendorClass,
    /// Who the client is.
    ClientId,
    /// DNS search domains (RFC 3397).
    DomainSearch,
    /// Routes (RFC 3442); when given, `Router` is ignored.
    ClasslessRoutes,
}

impl Code {
    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::SubnetMask => 1,
            Self::Router => 3,
            Self::DnsServers => 6,
            Self::HostName => 12,
            Self::DomainName => 15,
            Self::Mtu => 26,
            Self::RequestedAddress => 50,
            Self::LeaseTime => 51,
            Self::Overload => 52,
            Self::MessageType => 53,
            Self::ServerId => 54,
            Self::ParameterList => 55,
            Self::Message => 56,
            Self::MaxMessageSize => 57,
            Self::RenewalTime => 58,
            Self::RebindingTime => 59,
            Self::VendorClass => 60,
            Self::ClientId => 61,
            Self::DomainSearch => 119,
            Self::ClasslessRoutes => 121,
        }
    }
}

/// The options of one message, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// The bytes of one option.
    pub fn get(&self, code: Code) -> Option<&[u8]> {
        self.0.get(&code.number()).map(Vec::as_slice)
    }

    /// Sets one option.
    pub fn set(&mut self, code: Code, value: &[u8]) {
        self.0.insert(code.number(), value.to_vec());
    }

    /// Reads the option list, and the header fields when the list says that they carry options.
    pub fn parse(list: &[u8], file: &[u8], sname: &[u8]) -> Result<Self, MessageError> {
        let mut options = Self::default();
        options.read(list)?;
        let overload = options.get(Code::Overload).and_then(|value| value.first().copied()).unwrap_or(0);
        if overload & 1 != 0 {
            options.read(file)?;
        }
        if overload & 2 != 0 {
            options.read(sname)?;
        }
        Ok(options)
    }

    fn read(&mut self, mut list: &[u8]) -> Result<(), MessageError> {
        loop {
            let Some((&code, rest)) = list.split_first() else { return Ok(()) };
            match code {
                PAD => list = rest,
                END => return Ok(()),
                code => {
                    let short = || MessageError::Option { code };
                    let (&length, rest) = rest.split_first().ok_or_else(short)?;
                    let (value, rest) = rest.split_at_checked(length.into()).ok_or_else(short)?;
                    // RFC 3396: an option that stands twice was too long for one and is to be joined.
                    self.0.entry(code).or_default().extend(value);
                    list = rest;
                }
            }
        }
    }

    /// Writes the list: the message type first, as some servers want it, the rest by number.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let first = Code::MessageType.number();
        let kind = self.0.get(&first).map(|value| (&first, value));
        for (code, value) in kind.into_iter().chain(self.0.iter().filter(|(code, _)| **code != first)) {
            for part in value.chunks(255) {
                bytes.push(*code);
                bytes.push(u8::try_from(part.len()).expect("chunks of at most 255 bytes"));
                bytes.extend(part);
            }
        }
        bytes.push(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_option_is_split_and_joined() {
        let mut options = Options::default();
        let long: Vec<u8> = (0..=255).chain(0..=99).collect();
        options.set(Code::ClasslessRoutes, &long);
        options.set(Code::MessageType, &[5]);
        let mut bytes = Vec::new();
        options.encode(&mut bytes);
        assert_eq!(bytes[..5], [53, 1, 5, 121, 255]);
        assert_eq!(Options::parse(&bytes, &[], &[]), Ok(options));
    }

    #[test]
    fn overloaded_header_fields_are_read_only_when_named() {
        let file = [3, 4, 10, 0, 0, 1, 255];
        let sname = [6, 4, 10, 0, 0, 2, 255];
        let parse = |overload: u8| Options::parse(&[52, 1, overload, 0, 0, 255, 9, 9], &file, &sname).expect("it is well-formed");
        assert_eq!(parse(1).get(Code::Router), Some(&[10, 0, 0, 1][..]));
        assert_eq!(parse(1).get(Code::DnsServers), None);
        assert_eq!(parse(3).get(Code::DnsServers), Some(&[10, 0, 0, 2][..]));
        assert_eq!(parse(0).get(Code::Router), None);
    }

    #[test]
    fn a_list_without_an_end_is_taken_as_it_is() {
        assert!(Options::parse(&[1, 4, 255, 0, 0, 0], &[], &[]).is_ok());
        assert_eq!(Options::parse(&[1], &[], &[]), Err(MessageError::Option { code: 1 }));
    }
}
