//! From groups at the identity provider to a role here.

use std::str::FromStr;

use crate::model::people::{Role, User};

/// A group whose members have a role: `ROLE=GROUP` on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRole {
    /// The role.
    pub role: Role,
    /// The group, as the provider calls it.
    pub group: String,
}

/// Why a text maps no group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot map `{text}`: write ROLE=GROUP, where ROLE is admin, operator, reader or installer")]
pub struct GroupRoleError {
    text: String,
}

impl FromStr for GroupRole {
    type Err = GroupRoleError;

    fn from_str(text: &str) -> Result<Self, GroupRoleError> {
        let error = || GroupRoleError { text: text.to_owned() };
        let (role, group) = text.split_once('=').ok_or_else(error)?;
        let role = role.parse().map_err(|_| error())?;
        if group.is_empty() { Err(error()) } else { Ok(Self { role, group: group.to_owned() }) }
    }
}

/// What a person may do: by their groups, admin before operator before reader before installer; if no group counts, what an admin gave them by
/// hand. A role by group ends with the group, one by hand when an admin takes it back.
pub fn role_of(user: &User, map: &[GroupRole]) -> Option<Role> {
    let by_group = |role: Role| map.iter().any(|entry| entry.role == role && user.groups.contains(&entry.group));
    Role::ALL.iter().copied().find(|role| by_group(*role)).or(user.role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_count_before_what_was_given_by_hand() {
        let map: Vec<GroupRole> =
            ["reader=all", "operator=shop ops", "admin=it"].iter().map(|text| text.parse().unwrap()).collect();
        let user = |groups: &[&str], role| User {
            name: "1".into(),
            display_name: String::new(),
            role,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            last_login: None,
            locked: false,
        };
        let cases = [
            (user(&["all"], None), Some(Role::Reader)),
            (user(&["all", "shop ops"], None), Some(Role::Operator)),
            (user(&["it", "all"], Some(Role::Reader)), Some(Role::Admin)),
            (user(&["all"], Some(Role::Admin)), Some(Role::Reader)),
            (user(&["others"], Some(Role::Installer)), Some(Role::Installer)),
            (user(&["others"], None), None),
        ];
        for (user, expected) in cases {
            assert_eq!(role_of(&user, &map), expected, "{user:?}");
        }
        for bad in ["", "admin", "admin=", "boss=it", "=it"] {
            assert!(bad.parse::<GroupRole>().is_err(), "{bad}");
        }
    }
}
