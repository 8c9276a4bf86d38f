//! Addresses that `ADD` takes: of files, and of git repositories.

use carrack_graph::{GitOp, StepInfo};

use super::error::Refusal;

/// A repository and what of it is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Repository {
    remote: String,
    reference: Option<String>,
    subfolder: Option<String>,
    pub(super) checksum: Option<String>,
    keep_git: Option<bool>,
    without_submodules: bool,
}

impl Repository {
    /// The op that fetches it.
    pub(super) fn op(self, step: StepInfo, keep_git: bool, checksum: Option<String>) -> GitOp {
        GitOp {
            step,
            remote: self.remote,
            reference: self.reference,
            subfolder: self.subfolder,
            keep_git: self.keep_git.unwrap_or(keep_git),
            checksum: self.checksum.or(checksum),
            submodules: !self.without_submodules,
        }
    }
}

/// Whether it is the address of a file.
pub(super) fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
}

/// What a downloaded file is called: the last name of its path.
pub(super) fn file_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match decoded(name) {
        name if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) => {
            "__unnamed__".to_owned()
        }
        name => name,
    }
}

/// With `%20` as a space.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = behind.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The repository of an address; `None` if it is that of something else.
pub(super) fn git(address: &str) -> Result<Option<Repository>, Refusal> {
    let (rest, fragment) = match address.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (address, None),
    };
    let has_scheme = |schemes: &[&str]| schemes.iter().any(|scheme| rest.starts_with(scheme));
    let (remote, query) = match rest.split_once('?') {
        Some((remote, query)) if !is_scp(rest) => (remote, Some(query)),
        _ => (rest, None),
    };
    let is_git = match has_scheme(&["http://", "https://"]) {
        true => remote.ends_with(".git"),
        false => has_scheme(&["git://", "ssh://"]) || is_scp(rest),
    };
    if !is_git {
        return Ok(None);
    }
    let mut repository = Repository { remote: remote.to_owned(), ..Repository::default() };
    let refuse =
        |part: &str, why| Refusal::BadAddress { address: address.to_owned(), part: part.to_owned(), why };
    if let Some(fragment) = fragment {
        let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        repository.reference = said(reference);
        repository.subfolder = said(folder);
    }
    for part in query.into_iter().flat_map(|query| query.split('&')).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
        let value = value.map(decoded);
        let text = value.clone().unwrap_or_default();
        let once = |place: &mut Option<String>, value: String| match place {
            Some(known) if *known != value => Err(refuse(part, "says something else than the rest")),
            place => {
                *place = said(&value);
                Ok(())
            }
        };
        match key {
            "ref" | "tag" | "branch" | "subdir" | "checksum" | "commit" if text.is_empty() => {
                return Err(refuse(part, "has no value"));
            }
            "ref" => once(&mut repository.reference, text)?,
            "tag" => once(&mut repository.reference, format!("refs/tags/{text}"))?,
            "branch" => once(&mut repository.reference, format!("refs/heads/{text}"))?,
            "subdir" => once(&mut repository.subfolder, text)?,
            "checksum" | "commit" => once(&mut repository.checksum, text)?,
            "keep-git-dir" | "submodules" => {
                let switch = match value.as_deref() {
                    None | Some("" | "1" | "true" | "TRUE" | "True" | "t" | "T") => true,
                    Some("0" | "false" | "FALSE" | "False" | "f" | "F") => false,
                    Some(_) => return Err(refuse(part, "is neither true nor false")),
                };
                match key {
                    "submodules" => repository.without_submodules = !switch,
                    _ => repository.keep_git = Some(switch),
                }
            }
            _ => return Err(refuse(part, "is not known")),
        }
    }
    Ok(Some(repository))
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// `git@host:path`.
fn is_scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, path)) = rest.split_once(':') else { return false };
    let is_name = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    is_name(user, b"-_") && is_name(host, b"-_.") && !path.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_by_their_addresses() {
        for (url, name) in [
            ("https://example.com/a/b.tar.gz", "b.tar.gz"),
            ("https://example.com/a/b?c=d/e#f", "b"),
            ("https://example.com/a%20b", "a b"),
            ("https://example.com/a%2Fb", "__unnamed__"),
            ("https://example.com/%", "%"),
            ("https://example.com/%zé", "%zé"),
            ("https://example.com/", "__unnamed__"),
            ("https://example.com", "__unnamed__"),
            ("https://example.com/..", "__unnamed__"),
        ] {
            assert_eq!(file_name(url), name, "{url}");
        }
    }

    #[test]
    fn repositories_are_told_from_files() {
        let read = |address: &str| git(address).unwrap();
        let plain = |remote: &str| Repository { remote: remote.to_owned(), ..Repository::default() };
        assert_eq!(read("https://x/a.git"), Some(plain("https://x/a.git")));
        assert_eq!(read("git@x:a/b"), Some(plain("git@x:a/b")));
        assert_eq!(read("ssh://git@x/a"), Some(plain("ssh://git@x/a")));
        let whole = Repository {
            reference: Some("v1".to_owned()),
            subfolder: Some("docs".to_owned()),
            ..plain("https://x/a.git")
        };
        assert_eq!(read("https://x/a.git#v1:docs"), Some(whole.clone()));
        assert_eq!(read("https://x/a.git?ref=v1&subdir=docs"), Some(whole));
        let query = "https://x/a.git?tag=v1&commit=abc&keep-git-dir=1&submodules=false";
        let expected = Repository {
            reference: Some("refs/tags/v1".to_owned()),
            checksum: Some("abc".to_owned()),
            keep_git: Some(true),
            without_submodules: true,
            ..plain("https://x/a.git")
        };
        assert_eq!(read(query), Some(expected));
        for file in ["https://x/a.tar", "a.git", "a@b", "src/git@x", "https://x/a.git.zip", "github.com/a/b"]
        {
            assert_eq!(read(file), None, "{file}");
        }
        for bad in [
            "https://x/a.git?what=1",
            "https://x/a.git?ref=",
            "https://x/a.git?ref=a#b",
            "https://x/a.git?submodules=2",
        ] {
            assert!(matches!(git(bad), Err(Refusal::BadAddress { .. })), "{bad}");
        }
    }
}
