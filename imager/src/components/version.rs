//! Debian's order of package versions (deb-version(7)), and simple bounds on it.
//!
//! Upstream's own numbers (`v1.36.4+k3s1`) are compared by the same rule, without the leading `v`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Compares two versions as dpkg does.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left_upstream, left_revision) = split(left);
    let (right_epoch, right_upstream, right_revision) = split(right);
    left_epoch
        .cmp(&right_epoch)
        .then_with(|| compare_part(left_upstream, right_upstream))
        .then_with(|| compare_part(left_revision, right_revision))
}

/// The version its authors gave it: no epoch, no Debian revision, no leading `v`.
pub fn upstream(version: &str) -> &str {
    split(version.strip_prefix('v').unwrap_or(version)).1
}

fn split(version: &str) -> (u64, &str, &str) {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Letters before other characters, `~` before everything, even the end.
fn weight(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(byte),
        Some(byte) => i32::from(byte) + 256,
    }
}

fn compare_part(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        while left.first().is_some_and(|b| !b.is_ascii_digit()) || right.first().is_some_and(|b| !b.is_ascii_digit()) {
            let order = weight(left.first().copied()).cmp(&weight(right.first().copied()));
            if order.is_ne() {
                return order;
            }
            left = left.get(1..).unwrap_or_default();
            right = right.get(1..).unwrap_or_default();
        }
        let order = take_number(&mut left).cmp(&take_number(&mut right));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Digits from the front, without leading zeros, as a key that orders like the number.
fn take_number<'a>(rest: &mut &'a [u8]) -> (usize, &'a [u8]) {
    let end = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, tail) = rest.split_at(end);
    *rest = tail;
    let significant = &digits[digits.iter().take_while(|b| **b == b'0').count()..];
    (significant.len(), significant)
}

/// A bound such as `>= 1.36` or `< 2`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bound {
    below: bool,
    version: String,
}

/// A text that is no bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{text}` as a version bound: write `< VERSION` or `>= VERSION`")]
pub struct BoundError {
    text: String,
}

impl Bound {
    /// Whether the upstream part of `version` is within the bound.
    pub fn holds(&self, version: &str) -> bool {
        let order = compare_part(upstream(version), upstream(&self.version));
        order.is_lt() == self.below
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.below { "<" } else { ">=" }, self.version)
    }
}

impl FromStr for Bound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let (below, rest) = match (text.strip_prefix(">="), text.strip_prefix('<')) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(BoundError { text: text.to_owned() }),
        };
        let version = rest.trim();
        if version.starts_with(|first: char| first.is_ascii_digit()) {
            Ok(Self { below, version: version.to_owned() })
        } else {
            Err(BoundError { text: text.to_owned() })
        }
    }
}

impl TryFrom<String> for Bound {
    type Error = BoundError;

    fn try_from(text: String) -> Result<Self, BoundError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let rising = [
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1+b2",
            "1.0-1+deb13u1",
            "1.0+ds1-1",
            "1.9-1",
            "1.10-1",
            "2.1.9+ds1-5",
            "2.1.9+ds1-10",
            "1:0.1-1",
        ];
        for (index, low) in rising.iter().enumerate() {
            assert_eq!(compare(low, low), Ordering::Equal, "{low}");
            for high in &rising[index + 1..] {
                assert_eq!(compare(low, high), Ordering::Less, "{low} {high}");
                assert_eq!(compare(high, low), Ordering::Greater, "{high} {low}");
            }
        }
        assert_eq!(compare("1.01-1", "1.1-1"), Ordering::Equal);
    }

    #[test]
    fn bounds_look_at_upstream_versions() {
        for (bound, version, holds) in [
            ("< 2", "1.7.24~ds1-6+deb13u1", true),
            ("< 2", "2.1.9+ds1-5", false),
            (">= 1.36", "v1.36.4+k3s1", true),
            (">= 1.36", "v1.35.9+k3s1", false),
            (">= 1.36", "v1.100.0+k3s1", true),
        ] {
            assert_eq!(bound.parse::<Bound>().expect(bound).holds(version), holds, "{version} {bound}");
        }
        for broken in ["", "2", "= 2", "< two", ">="] {
            assert!(broken.parse::<Bound>().is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn order_is_total_and_antisymmetric(left in "[0-9a-z~.+]{0,8}", right in "[0-9a-z~.+]{0,8}") {
            prop_assert_eq!(compare(&left, &right), compare(&right, &left).reverse());
        }
    }
}
