//! Secrets where they stay: in variables and in copied files.

use super::super::Found;
use super::super::model::Model;
use crate::dockerfile::{Kind, Source};

/// A secret, or what looks like one, in a variable or a file that stays in the image's history.
pub(crate) fn secret(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let all = model.dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    for instruction in model.dockerfile.arguments.iter().chain(all) {
        let mut look = |name: &str, value: &str, range: std::ops::Range<usize>| {
            if names_secret(name) && !is_path_or_empty(name, value) || has_password(value) {
                found.push(Found::at(range, "everyone who has the image or its cache can read it"));
            }
        };
        match &instruction.kind {
            Kind::Arg(arguments) => {
                for argument in arguments {
                    let value = argument.value.as_ref().map_or("x", |value| value.as_str());
                    look(&argument.name, value, argument.name.range());
                }
            }
            Kind::Env(pairs) => {
                pairs.iter().for_each(|pair| look(&pair.name, &pair.value, pair.name.range()))
            }
            Kind::Copy(copy) => {
                for source in &copy.sources {
                    let Source::Path(path) = source else { continue };
                    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                    let is_key =
                        ["id_rsa", "id_ed25519", ".ssh", ".netrc", ".git-credentials"].contains(&last);
                    let is_token = path.contains(".cargo/credentials");
                    if copy.from.is_none() && (is_key || is_token) {
                        found.push(Found::at(
                            path.range(),
                            "everyone who has the image or its cache can read it",
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    found
}

fn names_secret(name: &str) -> bool {
    const WORDS: [&str; 10] = [
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "SECRETS",
        "APIKEY",
        "CREDENTIAL",
        "CREDENTIALS",
        "KEY",
        "PAT",
    ];
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split('_').collect();
    words.iter().any(|word| WORDS.contains(word)) && !words.contains(&"PUBLIC") && !words.contains(&"CACHE")
}

/// Where a secret is, is no secret.
fn is_path_or_empty(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    value.is_empty()
        || value == "\"\""
        || ["_FILE", "_PATH", "_DIR", "_ID", "_NAME"].iter().any(|end| upper.ends_with(end))
        || value.starts_with("/run/secrets")
}

/// `scheme://user:password@host` with a password that is no variable.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty() && !password.starts_with('$'))
}
