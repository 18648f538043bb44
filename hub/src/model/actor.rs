//! Who caused a write, from where, and when. Every write carries one of these into the audit.

use std::fmt;

use machine_config::DeviceId;

use super::time::Time;

/// Who caused something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The first admin token, or one made on the hub's own host.
    AdminToken,
    /// A person who signed in.
    User(String),
    /// A program with an API token, by the token's name.
    Token(String),
    /// A device that called.
    Device(DeviceId),
    /// A rule, by its name.
    Rule(String),
    /// A command on the hub's own host.
    Host,
    /// A caller that proved nothing.
    Stranger,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AdminToken => f.write_str("admin-token"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Device(id) => write!(f, "device:{id}"),
            Self::Rule(name) => write!(f, "rule:{name}"),
            Self::Host => f.write_str("host"),
            Self::Stranger => f.write_str("stranger"),
        }
    }
}

/// Who, from where, when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// The peer's address, verified by its connection; empty: none, it was the hub's own host.
    pub address: String,
    /// When.
    pub at: Time,
}

impl By {
    /// These three.
    pub fn new(actor: Actor, address: impl Into<String>, at: Time) -> Self {
        Self { actor, address: address.into(), at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_told_apart_by_their_first_word() {
        let id: DeviceId = "ab".repeat(32).parse().unwrap();
        let cases = [
            (Actor::AdminToken, "admin-token".to_owned()),
            (Actor::User("kim".into()), "user:kim".into()),
            (Actor::Token("ci".into()), "token:ci".into()),
            (Actor::Device(id.clone()), format!("device:{id}")),
            (Actor::Rule("shop".into()), "rule:shop".into()),
            (Actor::Host, "host".into()),
            (Actor::Stranger, "stranger".into()),
        ];
        for (actor, text) in cases {
            assert_eq!(actor.to_string(), text);
        }
    }
}
