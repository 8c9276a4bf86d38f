//! Names of images: the whole name of a short one.

/// The whole name, with its registry and a tag or digest; `None` if no image can have that name.
pub(crate) fn whole(text: &str) -> Option<String> {
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    let last = named.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match named[last..].rfind(':') {
        Some(colon) => (&named[..last + colon], Some(&named[last + colon + 1..])),
        None => (named, None),
    };
    let first = name.split_once('/');
    let is_registry = |first: &str| first.contains(['.', ':']) || first == "localhost" || has_capital(first);
    let (registry, path) = match first {
        Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
        _ => ("docker.io", name.to_owned()),
    };
    let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
    let path = if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
    let is_valid = is_host(registry)
        && path.split('/').all(is_component)
        && registry.len() + path.len() < 255
        && tag.is_none_or(is_tag)
        && digest.is_none_or(|digest| digest.parse::<carrack_base::Digest>().is_ok());
    if !is_valid {
        return None;
    }
    let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
    let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    Some(format!("{registry}/{path}{tag}{digest}"))
}

/// The whole name of what a named context is: also of an image that lies in a folder (`oci-layout://FOLDER`).
pub(super) fn of_context(text: &str) -> Option<String> {
    if text.starts_with("oci-layout://") { Some(text.to_owned()) } else { whole(text) }
}

fn has_capital(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

fn is_component(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = [text.bytes().next(), text.bytes().last()];
    edges.iter().all(|edge| edge.is_some_and(is_letter))
        && text.bytes().all(|byte| is_letter(byte) || b"._-".contains(&byte))
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_whole() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3.20", "docker.io/library/alpine:3.20"),
            ("a/b", "docker.io/a/b:latest"),
            ("index.docker.io/a/b", "docker.io/a/b:latest"),
            ("docker.io/rust", "docker.io/library/rust:latest"),
            ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a:b", "localhost:5000/a:b"),
        ] {
            assert_eq!(whole(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(whole(&format!("a@{digest}")), Some(format!("docker.io/library/a@{digest}")));
        assert_eq!(whole(&format!("a:b@{digest}")), Some(format!("docker.io/library/a:b@{digest}")));
        for text in ["", "A", "a//b", "a:", "a:-", "-a", "a@sha256:12", "a b", "a/", "/a", "é"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }
}
