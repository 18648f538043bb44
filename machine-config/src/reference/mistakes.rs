//! One of each kind of mistake that strict parsing tells apart, to show what it says.

use crate::parse::ParseProblem;

/// An example of each kind.
pub(super) fn mistakes() -> Vec<ParseProblem> {
    vec![
        ParseProblem::TooLarge { bytes: 300_000 },
        ParseProblem::NotUtf8 { offset: 12 },
        ParseProblem::Character { code: 0x200b, name: "a zero-width space" },
        ParseProblem::Empty,
        ParseProblem::Syntax { message: "…".into() },
        ParseProblem::Anchor,
        ParseProblem::Alias,
        ParseProblem::MergeKey,
        ParseProblem::Tag { tag: "!include".into() },
        ParseProblem::Directive,
        ParseProblem::SeveralDocuments,
        ParseProblem::TooDeep,
        ParseProblem::TooManyValues,
        ParseProblem::DuplicateKey { key: "mtu".into() },
        ParseProblem::KeyNotText,
        ParseProblem::NoValue { what: "`mtu`".into() },
        ParseProblem::UnknownKey { key: "adresses".into(), expected: vec!["addresses", "mtu"] },
        ParseProblem::MissingKey { key: "via" },
        ParseProblem::UnknownValue { value: "sever".into(), expected: vec!["server", "agent"] },
        ParseProblem::WrongType { expected: "a list (`- item`)".into() },
        ParseProblem::InvalidValue { message: "`Store 1` is not a host name: …".into() },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The attacks stand for every kind of mistake but two that no file of a sensible size can hold.
    #[test]
    fn every_kind_that_an_attack_provokes_is_shown() {
        let shown: BTreeSet<&str> = mistakes().iter().map(ParseProblem::code).collect();
        assert_eq!(shown.len(), mistakes().len());
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut found = 0;
        for folder in std::fs::read_dir(fixtures).expect("the attacks") {
            let expected = std::fs::read_to_string(folder.expect("a folder").path().join("expected")).expect("its file");
            for code in expected.lines().filter_map(|line| line.strip_prefix("problem: ")) {
                assert!(shown.contains(code), "{code}");
                found += 1;
            }
        }
        assert!(found > 30, "{found}");
    }
}
