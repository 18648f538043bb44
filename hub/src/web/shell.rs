//! What surrounds every page: its title, who is signed in, and the way to the other pages.

use crate::auth::Caller;
use crate::people::Role;

use super::assets;

/// A page of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Devices,
    Pending,
    Tokens,
    Configs,
    Expected,
    Rules,
    Trust,
    Images,
    Audit,
    People,
    Claim,
    /// None of them.
    Elsewhere,
}

impl Section {
    /// Whether things wait there.
    pub(super) fn is_queue(self) -> bool {
        self == Self::Pending
    }
}

/// An entry of the menu.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) section: Section,
    pub(super) href: &'static str,
    pub(super) word: &'static str,
    role: Role,
}

const MENU: [Entry; 12] = [
    Entry { section: Section::Overview, href: "/", word: "Fleet", role: Role::Reader },
    Entry { section: Section::Devices, href: "/devices", word: "Devices", role: Role::Reader },
    Entry { section: Section::Pending, href: "/pending", word: "Pending", role: Role::Reader },
    Entry { section: Section::Tokens, href: "/tokens", word: "Tokens", role: Role::Reader },
    Entry { section: Section::Configs, href: "/configs", word: "Configs", role: Role::Reader },
    Entry { section: Section::Expected, href: "/expected", word: "Expected", role: Role::Reader },
    Entry { section: Section::Rules, href: "/rules", word: "Rules", role: Role::Reader },
    Entry { section: Section::Trust, href: "/trust", word: "Trust", role: Role::Reader },
    Entry { section: Section::Images, href: "/images", word: "Images", role: Role::Reader },
    Entry { section: Section::Audit, href: "/audit", word: "Audit", role: Role::Reader },
    Entry { section: Section::People, href: "/people", word: "People", role: Role::Admin },
    Entry { section: Section::Claim, href: "/claim", word: "Claim", role: Role::Installer },
];

/// Who is signed in.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) role: Role,
    /// What forms repeat.
    pub(super) csrf: String,
    /// Devices that wait.
    pub(super) pending: u64,
}

impl Person {
    pub(super) fn of(caller: &Caller, pending: u64) -> Self {
        let csrf = caller.csrf().unwrap_or_default().to_owned();
        Self { name: caller.name.clone(), role: caller.role, csrf, pending }
    }

    /// The pages they may see.
    pub(super) fn nav(&self) -> impl Iterator<Item = Entry> {
        MENU.into_iter().filter(|entry| self.role.includes(entry.role))
    }
}

/// What surrounds a page.
#[derive(Debug, Clone)]
pub(super) struct Shell {
    pub(super) title: String,
    pub(super) section: Section,
    pub(super) person: Option<Person>,
}

impl Shell {
    /// For a page that anybody sees.
    pub(super) fn bare(title: impl Into<String>) -> Self {
        Self { title: title.into(), section: Section::Elsewhere, person: None }
    }

    /// Where an asset is.
    pub(super) fn asset(&self, name: &str) -> String {
        assets::href(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_shown_the_pages_they_may_see() {
        let words = |role| {
            let person = Person { name: String::new(), role, csrf: String::new(), pending: 0 };
            person.nav().map(|entry| entry.word).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(Role::Admin), "Fleet Devices Pending Tokens Configs Expected Rules Trust Images Audit People Claim");
        assert_eq!(words(Role::Operator), "Fleet Devices Pending Tokens Configs Expected Rules Trust Images Audit Claim");
        assert_eq!(words(Role::Reader), "Fleet Devices Pending Tokens Configs Expected Rules Trust Images Audit");
        assert_eq!(words(Role::Installer), "Claim");
    }
}
