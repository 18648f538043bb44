//! What stands on a label, and the address behind its code. Pure.
//!
//! The address is the hub's with `/claim/` and then what the device is known by, the surest first: `id/DEVICE-ID` (64 hexadecimal digits),
//! `serial/SERIAL`, `name/NAME`, percent-encoded as one path segment (RFC 3986). Without a hub it is the same path in the scheme `skerry:`.

use std::fmt::Write as _;

use crate::flash::record::Device;

/// Digits of a device id that people compare.
const SHORT_ID: usize = 16;

/// One label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The device's name, the largest thing on it.
    pub name: String,
    /// What else is printed, one thing per line.
    pub lines: Vec<String>,
    /// What the code says.
    pub claim: String,
}

impl From<&Device> for Label {
    fn from(device: &Device) -> Self {
        let id = device.id.as_ref().map(|id| format!("id {}", &id.as_str()[..SHORT_ID]));
        let serial = device.serial.as_ref().map(|serial| format!("serial {}", printable(serial)));
        let fixed = [printable(&device.board), format!("fleet {}", device.fleet)];
        // Where nothing scans the code, this is typed, and then what the lines above say.
        let hub = device.hub.as_ref().map(|hub| printable(&format!("{}/claim", host(hub))));
        let lines = id.into_iter().chain(serial).chain(fixed).chain(hub).collect();
        Self { name: device.name.to_string(), lines, claim: claim(device) }
    }
}

/// Where whoever scans the code claims the device.
fn claim(device: &Device) -> String {
    let hub = device.hub.as_deref().map(|hub| hub.trim_end_matches('/'));
    let begin = hub.map_or_else(|| "skerry:claim".to_owned(), |hub| format!("{hub}/claim"));
    let (kind, value) = match (&device.id, &device.serial) {
        (Some(id), _) => ("id", id.as_str()),
        (None, Some(serial)) => ("serial", serial.as_str()),
        (None, None) => ("name", device.name.as_str()),
    };
    format!("{begin}/{kind}/{}", segment(value))
}

/// The hub without its scheme, for people.
fn host(hub: &str) -> &str {
    hub.split_once("://").map_or(hub, |(_, rest)| rest).trim_end_matches('/')
}

/// A text as one segment of a path: all but RFC 3986's unreserved characters is escaped.
fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |mut done, byte| {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => done.push(char::from(byte)),
            false => write!(done, "%{byte:02X}").expect("a text takes everything"),
        }
        done
    })
}

/// A text as paper can show it: characters that a printer's fonts lack, and those that show nothing or reorder the rest, are spelled out.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| matches!(c, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{ff}');
    text.chars().fold(String::new(), |mut done, c| {
        match shown(c) {
            true => done.push(c),
            false => done.extend(c.escape_unicode()),
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::record::testing::device;

    #[test]
    fn the_address_names_the_device_by_what_is_surest() {
        let id = "ab".repeat(32);
        let cases = [
            (Some("https://hub.example:8443/"), Some(id.as_str()), Some("S1"), format!("https://hub.example:8443/claim/id/{id}")),
            (Some("https://hub.example"), None, Some("S1"), "https://hub.example/claim/serial/S1".to_owned()),
            (Some("https://[fd00::1]"), None, None, "https://[fd00::1]/claim/name/box".to_owned()),
            (None, None, Some("A/1 ü?"), "skerry:claim/serial/A%2F1%20%C3%BC%3F".to_owned()),
        ];
        for (hub, id, serial, expected) in cases {
            let mut device = device("box");
            device.hub = hub.map(str::to_owned);
            device.id = id.map(|id| id.parse().expect("an id"));
            device.serial = serial.map(str::to_owned);
            assert_eq!(Label::from(&device).claim, expected);
        }
    }

    #[test]
    fn a_label_says_what_is_known_and_nothing_else() {
        let mut device = device("box");
        device.id = Some("0123456789abcdef".repeat(4).parse().expect("an id"));
        let label = Label::from(&device);
        assert_eq!(label.name, "box");
        assert_eq!(label.lines, ["id 0123456789abcdef", "serial FZ-box", "nuc", "fleet acme", "hub.example/claim"]);
        (device.id, device.serial, device.hub) = (None, None, None);
        assert_eq!(Label::from(&device).lines, ["nuc", "fleet acme"]);
    }

    #[test]
    fn what_paper_cannot_show_is_spelled_out() {
        for (text, expected) in [
            ("AZ-09 ~é", "AZ-09 ~é"),
            ("a\nb", "a\\u{a}b"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("soft\u{ad}", "soft\\u{ad}"),
            ("箱", "\\u{7bb1}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
