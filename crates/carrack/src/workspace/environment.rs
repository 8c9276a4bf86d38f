//! The environment of a build: the caller's, sorted by [`carrack_cargo::environment`], and Carrack's own settings.

use std::collections::BTreeMap;

use carrack_cargo::config::BuildVariable;
use carrack_cargo::environment::{Class, classify};
use carrack_cargo::plan;
use carrack_graph::EnvValue;

use super::toolchain::Builder;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// A home that is the same for everyone: the user's name must not get into a binary.
const HOME: &str = "/tmp";

/// The whole environment of the compile step.
pub(super) fn of_build(
    caller: &Caller,
    builder: &Builder,
    configured: &BTreeMap<String, BuildVariable>,
    terminal: &Terminal,
) -> Result<BTreeMap<String, EnvValue>, Failure> {
    let mut env = BTreeMap::new();
    for (name, value) in caller.texts() {
        let keyed = match classify(name) {
            Class::Ours | Class::Credential | Class::Noise => continue,
            Class::Passed | Class::Declared => false,
            Class::Keyed => true,
        };
        env.insert(name.to_owned(), EnvValue { value: value.to_owned(), keyed });
    }
    let mut set = |name: &str, value: String| {
        env.insert(name.to_owned(), EnvValue { value, keyed: false });
    };
    set("HOME", HOME.to_owned());
    set("CARGO_HOME", plan::CARGO_HOME.to_owned());
    // A configuration may point intermediate results elsewhere, where the sandbox is read-only.
    set("CARGO_BUILD_BUILD_DIR", plan::TARGET.to_owned());
    set("CARGO_TERM_PROGRESS_WHEN", "always".to_owned());
    set("CARGO_TERM_PROGRESS_WIDTH", "100".to_owned());
    set("CARGO_TERM_COLOR", if terminal.has_colour() { "always" } else { "never" }.to_owned());
    let path = caller.text("PATH").unwrap_or_default();
    if let Some(folder) = &builder.toolchain.folder {
        // Programs that call cargo or rustc get the toolchain itself, not rustup's choice for another folder.
        set("PATH", format!("{}:{path}", folder.join("bin").display()));
        set("RUSTUP_HOME", rustup_home(caller));
    }
    if let Some(name) = &builder.toolchain.name {
        set("RUSTUP_TOOLCHAIN", name.clone());
    }
    for (name, variable) in configured {
        let value = match variable {
            BuildVariable::Value(value) => value.clone(),
            BuildVariable::FromCaller => {
                caller.text(name).ok_or_else(|| Failure::BuildVariable { name: name.clone() })?
            }
        };
        env.insert(name.clone(), EnvValue { value, keyed: true });
    }
    Ok(env)
}

fn rustup_home(caller: &Caller) -> String {
    let default = || caller.home().join(".rustup").to_string_lossy().into_owned();
    caller.text("RUSTUP_HOME").unwrap_or_else(default)
}
