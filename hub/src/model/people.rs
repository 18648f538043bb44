//! Who may use the hub: people, programs with API tokens, and what each may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::listed::words;
use super::time::Time;

/// What somebody may do. Admin, operator and reader include those after them; installer stands beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Everything, people and fleets included.
    Admin,
    /// Devices, tokens, configurations, tunnels.
    Operator,
    /// Looking.
    Reader,
    /// Claiming a device by the code on its box, and nothing else.
    Installer,
}

words!(Role { Admin => "admin", Operator => "operator", Reader => "reader", Installer => "installer" });

impl Role {
    /// Whether who has this role may do what `needed` may.
    pub fn includes(self, needed: Self) -> bool {
        match needed {
            Self::Admin => matches!(self, Self::Admin),
            Self::Operator => matches!(self, Self::Admin | Self::Operator),
            Self::Reader => matches!(self, Self::Admin | Self::Operator | Self::Reader),
            Self::Installer => matches!(self, Self::Admin | Self::Operator | Self::Installer),
        }
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// What the identity provider calls them (its subject), unique together with the provider; or a local name.
    pub name: String,
    /// What people call them.
    pub display_name: String,
    /// What they may do; none: nothing until an admin says so.
    pub role: Option<Role>,
    /// Their groups at the identity provider, at their last login.
    pub groups: Vec<String>,
    /// When they logged in last.
    pub last_login: Option<Time>,
    /// An admin locked them out.
    pub locked: bool,
}

/// A program's token. The token itself is shown once; only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiToken {
    /// Names it in lists. Not secret.
    pub id: String,
    /// What people call it, and the audit.
    pub name: String,
    /// The most it may do.
    pub role: Role,
    /// What of that it may do; empty: all of it.
    pub scopes: BTreeSet<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Time,
    /// When it ends; none: never.
    pub expires_at: Option<Time>,
    /// When it was used last, to the hour.
    pub last_used: Option<Time>,
    /// When it was revoked; none: it was not.
    pub revoked_at: Option<Time>,
}

/// Somebody's login in a browser. Its cookie is kept as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The person.
    pub user: String,
    /// What they may do, as it was at the login.
    pub role: Role,
    /// What forms must repeat, so that no other site can send them.
    pub csrf: String,
    /// When it began.
    pub created_at: Time,
    /// When it ends.
    pub expires_at: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_sees_nothing_and_a_reader_claims_nothing() {
        let table = [
            (Role::Admin, [true, true, true, true]),
            (Role::Operator, [false, true, true, true]),
            (Role::Reader, [false, false, true, false]),
            (Role::Installer, [false, false, false, true]),
        ];
        for (role, expected) in table {
            let may: Vec<bool> = Role::ALL.iter().map(|needed| role.includes(*needed)).collect();
            assert_eq!(may, expected, "{role}");
        }
    }
}
