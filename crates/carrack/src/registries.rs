//! What this machine says about registries, in the files of the programs that people have for images: mirrors, other places,
//! and who is spoken to without TLS.
//!
//! | file | what counts |
//! | --- | --- |
//! | Podman's `registries.conf`: `$CONTAINERS_REGISTRIES_CONF`, else the user's (`~/.config/containers`), else the machine's (`/etc/containers`); then what is in `registries.conf.d` beside the machine's and the user's | `[[registry]]` with `prefix`, `location`, `insecure`, `blocked`, `mirror-by-digest-only` and `mirror` |
//! | Docker's `daemon.json`: the user's (`~/.config/docker`), else the machine's (`/etc/docker`) | `registry-mirrors`, for Docker's own registry and behind Podman's; `insecure-registries`, by name |
//!
//! Short names mean what they mean to Docker, whatever these files say of them. A file that this user may not read counts as
//! absent; keys that are not named here are passed over, since those programs check their files themselves.
//!
//! Failure: [`RegistriesError`] where a file is neither TOML nor JSON.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use carrack_oci::pull::{Mirror, RegistryRule, RegistryRules};
use toml_edit::{Document, Item, TableLike};

use crate::caller::Caller;

/// Names another file in place of the user's and the machine's.
const VARIABLE: &str = "CONTAINERS_REGISTRIES_CONF";
const MACHINE: &str = "/etc";
/// Docker's mirrors are this registry's.
const DOCKERS: &str = "docker.io";

/// A file about registries that nobody can understand.
#[derive(Debug, thiserror::Error)]
#[error("cannot understand {}: {why}", path.display())]
pub(crate) struct RegistriesError {
    path: PathBuf,
    why: String,
}

/// What is said about registries.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    pub(crate) rules: RegistryRules,
    /// Hosts, or `*.domain`, that may be spoken to without TLS.
    insecure: BTreeSet<String>,
}

impl Registries {
    /// What the files of the caller's and of this machine say.
    pub(crate) fn of(caller: &Caller) -> Result<Self, RegistriesError> {
        let user = caller.variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let user = user.unwrap_or_else(|| caller.home().join(".config"));
        let mut registries = Self::default();
        for path in containers_files(&user, caller.variable(VARIABLE).map(PathBuf::from)) {
            registries.add_containers(&path)?;
        }
        for folder in [&user, Path::new(MACHINE)] {
            if registries.add_docker(&folder.join("docker/daemon.json"))? {
                break;
            }
        }
        Ok(registries)
    }

    /// Whether a host need not have TLS.
    pub(crate) fn may_be_plain(&self, host: &str) -> bool {
        self.insecure.iter().any(|insecure| match insecure.strip_prefix('*') {
            Some(domain) => host.ends_with(domain),
            None => host == insecure,
        })
    }

    /// Adds a `registries.conf`. What an earlier one said about the same prefix does not count any more.
    fn add_containers(&mut self, path: &Path) -> Result<(), RegistriesError> {
        let Some(text) = read(path)? else { return Ok(()) };
        let document = Document::parse(text)
            .map_err(|error| RegistriesError { path: path.to_owned(), why: error.message().to_owned() })?;
        for registry in document.get("registry").map(tables).unwrap_or_default() {
            let location = text_of(registry, "location");
            let Some(prefix) = text_of(registry, "prefix").or_else(|| location.clone()) else { continue };
            let own = location.as_ref().unwrap_or(&prefix);
            if flag(registry, "insecure") {
                self.insecure.insert(host(own));
            }
            let mut rule = RegistryRule { is_blocked: flag(registry, "blocked"), ..RegistryRule::default() };
            for mirror in registry.get("mirror").map(tables).unwrap_or_default() {
                let Some(location) = text_of(mirror, "location") else { continue };
                if flag(mirror, "insecure") {
                    self.insecure.insert(host(&location));
                }
                let only_digests = flag(registry, "mirror-by-digest-only")
                    || text_of(mirror, "pull-from-mirror").is_some_and(|said| said == "digest-only");
                rule.mirrors.push(Mirror { location, only_digests });
            }
            rule.location = location.filter(|location| *location != prefix);
            self.rules.0.insert(prefix, rule);
        }
        Ok(())
    }

    /// Adds a `daemon.json`; whether it is there.
    fn add_docker(&mut self, path: &Path) -> Result<bool, RegistriesError> {
        let Some(text) = read(path)? else { return Ok(false) };
        let document: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| RegistriesError { path: path.to_owned(), why: error.to_string() })?;
        let texts = |key: &str| {
            let list = document.get(key).and_then(|list| list.as_array()).into_iter().flatten();
            list.filter_map(|text| text.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        for address in texts("registry-mirrors") {
            let (scheme, location) = address.split_once("://").unwrap_or(("https", &address));
            let location = location.trim_end_matches('/').to_owned();
            if scheme == "http" {
                self.insecure.insert(host(&location));
            }
            let rule = self.rules.0.entry(DOCKERS.to_owned()).or_default();
            if rule.mirrors.iter().all(|mirror| mirror.location != location) {
                rule.mirrors.push(Mirror { location, only_digests: false });
            }
        }
        self.insecure.extend(texts("insecure-registries"));
        Ok(true)
    }
}

/// Podman's files, in the order in which they count.
fn containers_files(user: &Path, named: Option<PathBuf>) -> Vec<PathBuf> {
    let folders = [Path::new(MACHINE), user].map(|folder| folder.join("containers"));
    let main = folders.iter().rev().map(|folder| folder.join("registries.conf")).find(|file| file.exists());
    let mut files: Vec<PathBuf> = named.or(main).into_iter().collect();
    for folder in &folders {
        let entries = folder.join("registries.conf.d").read_dir().into_iter().flatten().flatten();
        let mut beside: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        beside.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
        beside.sort();
        files.extend(beside);
    }
    files
}

/// A file's text; `None` if it is not there for this user.
fn read(path: &Path) -> Result<Option<String>, RegistriesError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            Ok(None)
        }
        Err(error) => Err(RegistriesError { path: path.to_owned(), why: error.to_string() }),
    }
}

/// The tables of a list, in whichever of TOML's forms.
fn tables(item: &Item) -> Vec<&dyn TableLike> {
    let inline = item.as_array().into_iter().flatten().filter_map(|value| value.as_inline_table());
    let tables = item.as_array_of_tables().into_iter().flatten();
    let tables = tables.map(|table| -> &dyn TableLike { table });
    tables.chain(inline.map(|table| -> &dyn TableLike { table })).collect()
}

fn text_of(table: &dyn TableLike, key: &str) -> Option<String> {
    table.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn flag(table: &dyn TableLike, key: &str) -> bool {
    table.get(key).and_then(Item::as_bool).unwrap_or(false)
}

/// The host of a location.
fn host(location: &str) -> String {
    location.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use carrack_sandbox::Standing;

    use super::*;

    /// What the files say for a user with these in the configuration folder.
    fn registries(files: &[(&str, &str)]) -> Result<Registries, RegistriesError> {
        let home = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let home = home.path().to_str().unwrap();
        Registries::of(&Caller::of_this_process(Standing::Plain).with("XDG_CONFIG_HOME", home))
    }

    #[test]
    fn both_programs_files_count() {
        let podmans = r#"
unqualified-search-registries = ["example.com"]
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "near:5000/hub"
insecure = true
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "quay.io/acme"
location = "far.example/acme"
mirror-by-digest-only = true
mirror = [{ location = "copies.example" }]
[[registry]]
prefix = "*.corp.example"
insecure = true
blocked = true
"#;
        let later = "[[registry]]\nprefix = \"quay.io/other\"\nlocation = \"one\"\n";
        let latest = "[[registry]]\nprefix = \"quay.io/other\"\nlocation = \"two\"\n";
        let dockers = r#"{"registry-mirrors": ["http://plain.example/", "https://tls.example", "near:5000/hub"],
            "insecure-registries": ["10.1.2.3:5000"], "debug": true}"#;
        let registries = registries(&[
            ("containers/registries.conf", podmans),
            ("containers/registries.conf.d/2.conf", latest),
            ("containers/registries.conf.d/1.conf", later),
            ("containers/registries.conf.d/3.txt", "not TOML"),
            ("docker/daemon.json", dockers),
        ])
        .unwrap();
        let mirror = |location: &str, only_digests| Mirror { location: location.to_owned(), only_digests };
        let rule = |prefix: &str| &registries.rules.0[prefix];
        assert_eq!(
            rule("docker.io").mirrors,
            [
                mirror("near:5000/hub", false),
                mirror("digests.example", true),
                mirror("plain.example", false),
                mirror("tls.example", false)
            ]
        );
        assert_eq!(rule("docker.io").location, None);
        assert_eq!(rule("quay.io/acme").location.as_deref(), Some("far.example/acme"));
        assert_eq!(rule("quay.io/acme").mirrors, [mirror("copies.example", true)]);
        assert_eq!(rule("quay.io/other").location.as_deref(), Some("two"));
        assert!(rule("*.corp.example").is_blocked);
        let plain = ["near:5000", "plain.example", "10.1.2.3:5000", "a.corp.example"];
        assert!(plain.iter().all(|host| registries.may_be_plain(host)));
        let others = ["tls.example", "near", "docker.io", "corp.example"];
        assert!(!others.iter().any(|host| registries.may_be_plain(host)));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named() {
        for (path, text) in [("containers/registries.conf", "[[registry"), ("docker/daemon.json", "{")] {
            let error = registries(&[(path, text)]).unwrap_err();
            assert!(error.path.ends_with(path), "{error}");
        }
    }
}
