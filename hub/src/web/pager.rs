//! Long lists in pages, and addresses with questions in them. Pure.

use std::fmt::Write as _;

/// Entries of a page.
pub(super) const PAGE: u32 = 50;

/// Where the pages around this one are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pager {
    /// `51–100 of 312`; none: one page has it all.
    pub(super) range: Option<String>,
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

impl Pager {
    /// For the page that begins after `offset` of `total` entries; `pairs` is what else was asked for.
    pub(super) fn of(path: &str, pairs: &[(&str, &str)], offset: u64, total: u64) -> Self {
        Self::named("offset", path, pairs, offset, total)
    }

    /// The same where `name` says what is before the page, because there are several lists.
    pub(super) fn named(name: &str, path: &str, pairs: &[(&str, &str)], offset: u64, total: u64) -> Self {
        let page = u64::from(PAGE);
        if total <= page && offset == 0 {
            return Self::default();
        }
        let link = |offset: u64| {
            let offset = offset.to_string();
            address(path, &[pairs, &[(name, offset.as_str())]].concat())
        };
        let last = offset.saturating_add(page).min(total);
        Self {
            range: Some(format!("{}–{last} of {total}", offset.saturating_add(1).min(last))),
            previous: (offset > 0).then(|| link(offset.saturating_sub(page))),
            next: (last < total).then(|| link(last)),
        }
    }
}

/// An address with these questions; those without an answer are left out.
pub(super) fn address(path: &str, pairs: &[(&str, &str)]) -> String {
    let asked = pairs.iter().filter(|(_, value)| !value.is_empty());
    let parts: Vec<String> = asked.map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
}

/// A text as one part of an address: all but RFC 3986's unreserved characters is escaped.
pub(super) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut done, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            done.push(char::from(byte));
        } else {
            write!(done, "%{byte:02X}").expect("a text takes everything");
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lead_on_with_what_was_asked() {
        assert_eq!(Pager::of("/devices", &[], 0, 50), Pager::default());
        let pager = Pager::of("/devices", &[("search", "a b&c"), ("state", "")], 50, 120);
        assert_eq!(pager.range.as_deref(), Some("51–100 of 120"));
        assert_eq!(pager.previous.as_deref(), Some("/devices?search=a%20b%26c&offset=0"));
        assert_eq!(pager.next.as_deref(), Some("/devices?search=a%20b%26c&offset=100"));
        let beyond = Pager::of("/devices", &[], 500, 120);
        assert_eq!((beyond.range.as_deref(), beyond.next), (Some("120–120 of 120"), None));
    }

    #[test]
    fn an_address_cannot_be_broken_by_what_was_asked() {
        assert_eq!(address("/audit", &[("actor", "user:\"><script>é")]), "/audit?actor=user%3A%22%3E%3Cscript%3E%C3%A9");
        assert_eq!(address("/audit", &[("actor", "")]), "/audit");
    }
}
