//! Where images are asked for: which places stand before a registry, or in its place.

use std::collections::BTreeMap;

/// What is said about registries. The longest key that an image's whole name begins with counts, and none beside it:
///
/// | key | images |
/// | --- | --- |
/// | `docker.io` | all of that registry |
/// | `quay.io/acme` | those below this |
/// | `*.acme.example` | all of registries in this domain |
///
/// A *location* takes the key's place in the image's name. It is a host, with a port if it has one, and perhaps the
/// beginning of its repositories' names: with `harbour.example/hub` for `docker.io`, `docker.io/library/debian` is
/// `harbour.example/hub/library/debian`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryRules(pub BTreeMap<String, RegistryRule>);

/// What is said about a registry, or a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryRule {
    /// Who is asked before, in order.
    pub mirrors: Vec<Mirror>,
    /// Who is asked in place of the registry itself.
    pub location: Option<String>,
    /// Whether nobody is to be asked.
    pub is_blocked: bool,
}

/// A place with copies of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where it is.
    pub location: String,
    /// Whether it has no say in what a tag means.
    pub only_digests: bool,
}

/// A repository of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) repository: String,
    /// Whether it is not to be asked for tags.
    pub(super) only_digests: bool,
    /// Whether it stands before the registry.
    pub(super) is_mirror: bool,
}

impl RegistryRules {
    /// The places where an image may be, the last one of which is not a mirror; or the key that blocks it.
    pub(super) fn places(&self, host: &str, repository: &str) -> Result<Vec<Place>, String> {
        let name = format!("{host}/{repository}");
        let place = |location: &str, rest: &str| {
            let whole = format!("{}{rest}", location.trim_end_matches('/'));
            let (host, repository) = whole.split_once('/').unwrap_or((&whole, ""));
            Place {
                host: host.to_owned(),
                repository: repository.to_owned(),
                only_digests: false,
                is_mirror: false,
            }
        };
        let rules = self.0.iter().filter_map(|(key, rule)| Some((key, rule, rest(key, &name)?)));
        let Some((key, rule, rest)) = rules.max_by_key(|(key, ..)| key.len()) else {
            return Ok(vec![place(&name, "")]);
        };
        if rule.is_blocked {
            return Err(key.clone());
        }
        let mirrors = rule.mirrors.iter().map(|mirror| Place {
            only_digests: mirror.only_digests,
            is_mirror: true,
            ..place(&mirror.location, rest)
        });
        let own = rule.location.as_deref().map_or_else(|| place(&name, ""), |location| place(location, rest));
        Ok(mirrors.chain([own]).collect())
    }
}

/// What follows in `name` behind the part that `key` means.
fn rest<'a>(key: &str, name: &'a str) -> Option<&'a str> {
    match key.strip_prefix('*') {
        None => name.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with('/')),
        Some(domain) => {
            let end = name.find('/')?;
            name[..end].ends_with(domain).then_some(&name[end..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&str, RegistryRule)]) -> RegistryRules {
        RegistryRules(rules.iter().map(|(key, rule)| ((*key).to_owned(), rule.clone())).collect())
    }

    fn mirrored(locations: &[&str]) -> RegistryRule {
        let mirror = |location: &&str| Mirror { location: (*location).to_owned(), only_digests: false };
        RegistryRule { mirrors: locations.iter().map(mirror).collect(), ..RegistryRule::default() }
    }

    fn moved(location: &str) -> RegistryRule {
        RegistryRule { location: Some(location.to_owned()), ..RegistryRule::default() }
    }

    #[track_caller]
    fn check(rules: &RegistryRules, name: &str, expected: &[&str]) {
        let (host, repository) = name.split_once('/').unwrap();
        let places = rules.places(host, repository).unwrap();
        let found = places.iter().map(|place| format!("{}/{}", place.host, place.repository));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{name}");
        let count = places.len();
        assert!(places.iter().enumerate().all(|(number, place)| place.is_mirror == (number + 1 < count)));
    }

    #[test]
    fn the_longest_key_counts_and_a_location_takes_its_place() {
        let blocked = RegistryRule { is_blocked: true, ..RegistryRule::default() };
        let rules = rules(&[
            ("docker.io", mirrored(&["near:5000", "harbour.example/hub/"])),
            ("docker.io/acme", mirrored(&["acme.example/copies"])),
            ("docker.io/acme/base", moved("elsewhere.example/root")),
            (
                "quay.io",
                RegistryRule { location: Some("far.example/quay".to_owned()), ..mirrored(&["near"]) },
            ),
            ("*.corp.example", mirrored(&["copies.example"])),
            ("evil.example", blocked),
        ]);
        check(
            &rules,
            "docker.io/library/debian",
            &["near:5000/library/debian", "harbour.example/hub/library/debian", "docker.io/library/debian"],
        );
        check(&rules, "docker.io/acme/tool", &["acme.example/copies/tool", "docker.io/acme/tool"]);
        check(&rules, "docker.io/acme/base", &["elsewhere.example/root"]);
        // A name that only looks alike.
        check(
            &rules,
            "docker.io/acme-two/x",
            &["near:5000/acme-two/x", "harbour.example/hub/acme-two/x", "docker.io/acme-two/x"],
        );
        check(&rules, "quay.io/a/b", &["near/a/b", "far.example/quay/a/b"]);
        check(&rules, "one.corp.example/a/b", &["copies.example/a/b", "one.corp.example/a/b"]);
        check(&rules, "corp.example/a", &["corp.example/a"]);
        check(&rules, "docker.io.example/a", &["docker.io.example/a"]);
        assert_eq!(rules.places("evil.example", "a/b"), Err("evil.example".to_owned()));
    }
}
