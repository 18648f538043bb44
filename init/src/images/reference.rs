//! Names of images in the one full form in which containerd and Kubernetes look them up.

/// The registry that a name without one means, by the grammar of image references. Nothing is asked of it here.
const DEFAULT_DOMAIN: &str = "docker.io";

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of an image, such as `registry.example/team/app:1.0`")]
pub struct ReferenceError(pub String);

/// The full form of a name: with registry, repository and tag or digest.
pub fn normalize(name: &str) -> Result<String, ReferenceError> {
    let invalid = || ReferenceError(name.to_owned());
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (name, None),
    };
    let (domain, path_and_tag) = split_domain(rest);
    let (path, tag) = match path_and_tag.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (path_and_tag, None),
    };
    let path = if domain == DEFAULT_DOMAIN && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
    let digest_is_good = digest.is_none_or(|digest| super::Digest::try_from(digest.to_owned()).is_ok());
    if !is_domain(domain) || !is_path(&path) || !tag.is_none_or(is_tag) || !digest_is_good || name.len() > 255 {
        return Err(invalid());
    }
    let version = match (tag, digest) {
        (Some(tag), Some(digest)) => format!(":{tag}@{digest}"),
        (None, Some(digest)) => format!("@{digest}"),
        (Some(tag), None) => format!(":{tag}"),
        (None, None) => ":latest".to_owned(),
    };
    Ok(format!("{domain}/{path}{version}"))
}

/// The first component is a registry when it looks like a host.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        Some(_) | None => (DEFAULT_DOMAIN, name),
    }
}

fn is_domain(domain: &str) -> bool {
    domain.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
        && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte))
}

fn is_path(path: &str) -> bool {
    path.split('/').all(|part| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    })
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_get_the_parts_that_the_grammar_gives_them() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let with_digest = format!("registry.example/app@{digest}");
        let cases = [
            ("nginx", "docker.io/library/nginx:latest"),
            ("team/app:1.0", "docker.io/team/app:1.0"),
            ("localhost/skerry/pause:1", "localhost/skerry/pause:1"),
            ("registry.example:5000/a/b", "registry.example:5000/a/b:latest"),
            ("registry.example/a:V1_2", "registry.example/a:V1_2"),
            (with_digest.as_str(), with_digest.as_str()),
        ];
        for (name, expected) in cases {
            assert_eq!(normalize(name).as_deref(), Ok(expected), "{name}");
        }
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for name in [
            "",
            "/",
            "a//b",
            "../etc/passwd",
            "UPPER/Case",
            "a:",
            "a:b c",
            "a@sha256:1",
            ":tag",
            "registry.example/",
            "a/-b",
            &"x".repeat(300),
        ] {
            assert!(normalize(name).is_err(), "{name}");
        }
    }
}
