//! Every path of the hub's REST interface that is used here, in one place. What stands in a name is escaped, so that no name becomes a path.

use std::fmt::Display;

use machine_config::types::{DeviceId, Digest};

/// Who asks, and what he may.
pub(crate) const ME: &str = "/api/v1/me";
/// Join tokens.
pub(crate) const TOKENS: &str = "/api/v1/tokens";
/// Fleets whose signatures count.
pub(crate) const FLEETS: &str = "/api/v1/fleets";
/// Stations whose manifests count.
pub(crate) const STATIONS: &str = "/api/v1/stations";
/// Configurations.
pub(crate) const CONFIGS: &str = "/api/v1/configs";
/// Manifests of stamped images.
pub(crate) const MANIFESTS: &str = "/api/v1/manifests";
/// Logs of flashed drives.
pub(crate) const RECORDS: &str = "/api/v1/records";
/// Images.
pub(crate) const IMAGES: &str = "/api/v1/images";

/// People.
pub(crate) const USERS: &str = "/api/v1/users";
/// Tokens of programs.
pub(crate) const API_TOKENS: &str = "/api/v1/api-tokens";

/// Rules that admit devices.
pub(crate) const RULES: &str = "/api/v1/rules";

/// Entries that are asked for at once; the hub's own bound.
pub(crate) const MAX_PAGE: u32 = 500;

const DEVICES: &str = "/api/v1/devices";

/// Devices that fit all of these.
pub(crate) fn devices(query: &Query) -> String {
    format!("{DEVICES}{}", query.text())
}

/// What is done with several devices: `approve`, `refuse`, `quarantine`, `remove`.
pub(crate) fn act(verb: &str) -> String {
    format!("{DEVICES}/{verb}")
}

/// One device.
pub(crate) fn device(device: &DeviceId) -> String {
    format!("{DEVICES}/{device}")
}

/// Puts another device in the place of this one.
pub(crate) fn replace(device: &DeviceId) -> String {
    format!("{DEVICES}/{device}/replace")
}

/// The configuration of a device for another one, to be signed.
pub(crate) fn draft(device: &DeviceId, by: &DeviceId) -> String {
    format!("{DEVICES}/{device}/replacement-draft?by={by}")
}

/// One rule.
pub(crate) fn rule(name: &str) -> String {
    format!("{RULES}/{}", escape(name))
}

/// One person.
pub(crate) fn user(name: &str) -> String {
    format!("{USERS}/{}", escape(name))
}

/// One token of a program.
pub(crate) fn api_token(id: &str) -> String {
    format!("{API_TOKENS}/{}", escape(id))
}

/// The sites of an installer.
pub(crate) fn installer(actor: &str) -> String {
    format!("/api/v1/installers/{}", escape(actor))
}

/// A part of a list, as much as the hub tells at once.
pub(crate) fn page(list: &str, offset: usize) -> String {
    let query = Query::default().with("offset", Some(offset).filter(|offset| *offset > 0)).with("limit", Some(MAX_PAGE));
    format!("{list}{}", query.text())
}

/// The connection to a device.
pub(crate) fn tunnel(device: &DeviceId) -> String {
    format!("{DEVICES}/{device}/tunnel")
}

/// One join token.
pub(crate) fn token(id: &str) -> String {
    format!("{TOKENS}/{}", escape(id))
}

/// One configuration.
pub(crate) fn config(digest: &Digest) -> String {
    format!("{CONFIGS}/{digest}")
}

/// To whom a configuration is assigned.
pub(crate) fn assignments(digest: &Digest) -> String {
    format!("{CONFIGS}/{digest}/assignments")
}

/// How far it came, device by device.
pub(crate) fn deliveries(digest: &Digest) -> String {
    format!("{CONFIGS}/{digest}/deliveries")
}

/// Lines of the audit.
pub(crate) fn audit(query: &Query) -> String {
    format!("/api/v1/audit{}", query.text())
}

/// An image as it is.
pub(crate) fn image(image: &str) -> String {
    format!("{IMAGES}/{}", escape(image))
}

/// Asks for a stamped image.
pub(crate) fn downloads(image: &str) -> String {
    format!("{IMAGES}/{}/downloads", escape(image))
}

/// What follows the question mark.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Adds a value unless there is none.
    pub(crate) fn with(mut self, name: &'static str, value: Option<impl Display>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }

    fn text(&self) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }
}

/// RFC 3986, section 2.1: everything but the unreserved characters.
fn escape(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    // A segment of dots alone would mean another folder.
    if !text.is_empty() && text.bytes().all(|byte| byte == b'.') {
        text.replace('.', "%2E")
    } else {
        text.bytes().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_becomes_a_path() {
        assert_eq!(token("../users?x=1#a b"), "/api/v1/tokens/..%2Fusers%3Fx%3D1%23a%20b");
        assert_eq!(token(".."), "/api/v1/tokens/%2E%2E");
        let query = Query::default().with("search", Some("a&b=ü")).with("label", None::<&str>).with("limit", Some(5));
        assert_eq!(devices(&query), "/api/v1/devices?search=a%26b%3D%C3%BC&limit=5");
        assert_eq!(devices(&Query::default()), "/api/v1/devices");
        assert_eq!(user("a/b"), "/api/v1/users/a%2Fb");
        assert_eq!(installer("user:kim"), "/api/v1/installers/user%3Akim");
        assert_eq!(page(TOKENS, 0), "/api/v1/tokens?limit=500");
        assert_eq!(page(TOKENS, 500), "/api/v1/tokens?offset=500&limit=500");
    }
}
