//! Completing a tree with shared libraries, until every program finds what it asks for.
//!
//! The search is the same when locking and when building; only where libraries come from differs, so that is a function.

use super::closure::{Missing, WrongArchitecture, missing, places, take_with_links};
use super::extract::Items;
use crate::board::Architecture;

/// Adds to `items` what `provide` gives for each thing missing, and again for what those need. Asks for each thing once.
pub fn complete<E: From<WrongArchitecture>>(
    arch: Architecture,
    items: &mut Items,
    mut provide: impl FnMut(&Missing) -> Result<Items, E>,
) -> Result<(), E> {
    loop {
        let missing = missing(arch, items)?;
        let Some(first) = missing.first() else { return Ok(()) };
        items.extend(provide(first)?);
    }
}

/// Takes what is missing from the files of one package; none: it is not in there.
pub fn find_in(arch: Architecture, missing: &Missing, given: &Items) -> Option<Items> {
    places(arch, &missing.wanted).iter().find_map(|place| take_with_links(given, place))
}

/// Globs of the files a library package may give.
pub fn library_globs(arch: Architecture) -> Vec<String> {
    [format!("usr/lib/{}/*.so*", super::arch::triplet(arch)), "usr/lib/*.so*".into(), "usr/lib64/*.so*".into()].into()
}

#[cfg(test)]
mod tests {
    use super::super::digest::Digest;
    use super::super::elf::ElfFacts;
    use super::super::extract::Item;
    use super::*;

    const ARCH: Architecture = Architecture::X86_64;

    fn elf(needed: &[&str]) -> Item {
        let needed = needed.iter().map(|name| (*name).to_owned()).collect();
        Item::File { sha256: Digest::of(b""), executable: true, elf: Some(ElfFacts { machine: 62, interpreter: None, needed }) }
    }

    #[test]
    fn libraries_of_libraries_come_along_and_nothing_else() {
        let library = |name: &str, needed: &[&str]| (format!("usr/lib/x86_64-linux-gnu/{name}"), elf(needed));
        let given: Items =
            [library("liba.so.1", &["libb.so.2"]), library("libb.so.2", &["liba.so.1"]), library("libz.so.1", &[])].into();
        let mut items: Items = [("usr/bin/tool".to_owned(), elf(&["liba.so.1"]))].into();
        complete(ARCH, &mut items, |missing| find_in(ARCH, missing, &given).ok_or(None::<Missing>)).expect("complete");
        let names: Vec<_> = items.into_keys().collect();
        assert_eq!(names, ["usr/bin/tool", "usr/lib/x86_64-linux-gnu/liba.so.1", "usr/lib/x86_64-linux-gnu/libb.so.2"]);
    }

    impl From<WrongArchitecture> for Option<Missing> {
        fn from(_: WrongArchitecture) -> Self {
            None
        }
    }
}
