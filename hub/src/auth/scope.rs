//! Scopes: what of its role's powers an API token has. A scope is the name of an area, with `:read` for looking only.

use std::collections::BTreeSet;

use crate::model::listed_words;

/// A part of the hub that a scope names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Who one is, and the fleet in numbers. In every token's reach.
    Own,
    /// Devices.
    Devices,
    /// Connections to devices.
    Tunnels,
    /// Claiming devices by the code on the box.
    Claims,
    /// Join tokens.
    Tokens,
    /// Configurations.
    Configs,
    /// Fleets and stations: whose signatures count.
    Fleets,
    /// Rules and how devices are let in.
    Rules,
    /// Devices that are expected.
    Expected,
    /// People and API tokens.
    People,
    /// The audit.
    Audit,
    /// Images.
    Images,
    /// The counters at `/metrics`.
    Metrics,
}

listed_words!(Area {
    Own => "own",
    Devices => "devices",
    Tunnels => "tunnels",
    Claims => "claims",
    Tokens => "tokens",
    Configs => "configs",
    Fleets => "fleets",
    Rules => "rules",
    Expected => "expected",
    People => "people",
    Audit => "audit",
    Images => "images",
    Metrics => "metrics",
});

/// What follows an area's name when only looking is allowed.
const READ: &str = ":read";

/// Whether a text is a scope.
pub fn is_scope(text: &str) -> bool {
    text.strip_suffix(READ).unwrap_or(text).parse::<Area>().is_ok()
}

/// Whether these scopes allow something; none allow everything.
pub(super) fn allow(scopes: &BTreeSet<String>, area: Area, writes: bool) -> bool {
    let has = |scope: &str| scopes.contains(scope);
    scopes.is_empty() || area == Area::Own || has(area.as_str()) || (!writes && has(&format!("{area}{READ}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_areas() {
        for area in Area::ALL {
            assert!(is_scope(area.as_str()) && is_scope(&format!("{area}:read")));
        }
        for bad in ["", ":read", "devices:write", "everything", "devices:read:read"] {
            assert!(!is_scope(bad), "{bad}");
        }
    }
}
