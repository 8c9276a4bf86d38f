//! `WWW-Authenticate`: what a registry wants to see before it answers.

/// How a registry wants to be told who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token that another server gives out.
    Bearer {
        /// That server's address.
        realm: String,
        /// How the registry is called there.
        service: Option<String>,
        /// What the registry thinks is needed.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The best of the challenges in one header: tokens before passwords.
    pub(crate) fn read(header: &str) -> Option<Self> {
        let mut best = None;
        let mut rest = header.trim_start();
        while !rest.is_empty() {
            let (scheme, after) = word(rest);
            if scheme.is_empty() {
                break;
            }
            let (parameters, after) = parameters(after);
            rest = after;
            let get = |wanted: &str| {
                let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer") {
                let Some(realm) = get("realm") else { continue };
                return Some(Self::Bearer { realm, service: get("service"), scope: get("scope") });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                best = Some(Self::Basic);
            }
        }
        best
    }
}

/// The token at the start, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let end =
        text.find(|letter: char| letter.is_whitespace() || "=,\"".contains(letter)).unwrap_or(text.len());
    text.split_at(end)
}

/// `name="value", …` up to the next scheme, and what follows.
fn parameters(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ',');
        let (name, after) = word(text);
        // A word without `=` is the next scheme.
        let Some(after) = after.trim_start().strip_prefix('=') else { return (found, text) };
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, after) = word(after);
                (value.to_owned(), after)
            }
        };
        if name.is_empty() {
            return (found, "");
        }
        found.push((name.to_owned(), value));
        text = after;
    }
}

/// A quoted text up to its closing quote, and what follows.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/debian:pull"),
                ),
            ),
            (r#"Basic realm="Registry""#, Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                r#"Basic realm="x", Bearer realm="https://a/b", service=c"#,
                bearer("https://a/b", Some("c"), None),
            ),
            (
                r#"bearer Realm = "https://a/\"b" , scope="a,b c""#,
                bearer("https://a/\"b", None, Some("a,b c")),
            ),
            ("Bearer service=x", None),
            ("Negotiate", None),
            ("Negotiate, Basic realm=x", Some(Challenge::Basic)),
            ("", None),
            ("=", None),
            ("Bearer realm=\"open", bearer("open", None, None)),
        ] {
            assert_eq!(Challenge::read(header), expected, "{header}");
        }
    }
}
