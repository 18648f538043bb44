//! Paths of settings as people read them: `machine.network.interfaces[0].mtu`, `machine.sysctls["net.core.somaxconn"]`.

/// A child's path. A key that is no plain word is quoted: `machine.sysctls["net.core.somaxconn"]`.
pub(crate) fn join(path: &str, key: &str) -> String {
    let word = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    match (word, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{key:?}]"),
    }
}

/// True when `path` is `parent` or lies inside of it.
pub(crate) fn is_within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// True when nothing but one key or index lies between the two.
pub(crate) fn is_child(path: &str, parent: &str) -> bool {
    let Some(rest) = path.strip_prefix(parent) else { return false };
    match rest.strip_prefix('[') {
        Some(index) => {
            index.strip_prefix('"').map_or(index.find(']') == Some(index.len() - 1), |key| key.find("\"]") == Some(key.len() - 2))
        }
        None => rest.strip_prefix('.').is_some_and(|key| !key.contains(['.', '['])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_no_plain_word_is_quoted() {
        assert_eq!(join("", "machine"), "machine");
        assert_eq!(join("machine", "sysctls"), "machine.sysctls");
        assert_eq!(join("machine.sysctls", "a.b"), "machine.sysctls[\"a.b\"]");
        assert_eq!(join("a", "x\"]"), "a[\"x\\\"]\"]");
    }

    #[test]
    fn parents_and_children_are_told_from_look_alikes() {
        for (path, parent) in [("a.b", "a"), ("a[0]", "a"), ("a", "a"), ("a[\"b.c\"].d", "a")] {
            assert!(is_within(path, parent), "{path} {parent}");
        }
        for (path, parent) in [("ab", "a"), ("a", "a.b"), ("b.a", "a")] {
            assert!(!is_within(path, parent), "{path} {parent}");
        }
        for (path, parent) in [("a.b", "a"), ("a[0]", "a"), ("a[\"b.c\"]", "a"), ("a[0].b", "a[0]")] {
            assert!(is_child(path, parent), "{path} {parent}");
        }
        for (path, parent) in [("a.b.c", "a"), ("a[0].b", "a"), ("a[0][1]", "a"), ("a[\"b\"].c", "a"), ("a", "a"), ("ab", "a")] {
            assert!(!is_child(path, parent), "{path} {parent}");
        }
    }
}
