//! What a cargo command line does.

use super::shell::{ShellCommand, Word};

/// A call of cargo.
#[derive(Debug, Clone)]
pub(super) struct CargoCall {
    pub(super) verb: Verb,
    /// The word that says the verb.
    pub(super) verb_word: Word,
    /// `release`, `dev`, or a profile's name.
    pub(super) profile: String,
    /// `--target`.
    pub(super) target: Option<String>,
    /// `--target` is there more than once: results are in several folders.
    pub(super) has_many_targets: bool,
    /// `--target-dir`.
    pub(super) target_folder: Option<String>,
    /// `--locked` or `--frozen`.
    pub(super) locked: bool,
    /// The first word behind the verb that is no flag.
    pub(super) operand: Option<String>,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Compiles what lies here.
    Build,
    /// `install` of something from elsewhere.
    InstallTool,
    /// `chef cook`.
    Cook,
    /// `chef prepare`.
    Prepare,
    /// `clean`.
    Clean,
    /// `new` or `init`.
    New,
    /// `fetch`, `test`, `check`, `run` …: needs the workspace, its results are no image's.
    OtherUse,
    /// Does not look at the workspace.
    Nothing,
}

impl CargoCall {
    /// Reads a command; `None` if it is not cargo.
    pub(super) fn of(command: &ShellCommand) -> Option<Self> {
        let (program, words) = command.program()?;
        let mut words = words;
        match program {
            "cargo" | "cross" => {}
            "cargo-chef" => {
                let mut call = Self::of_words(words)?;
                call.verb = chef(&call.verb_word.value);
                return Some(call);
            }
            _ => return None,
        }
        while let [first, rest @ ..] = words {
            let takes_value =
                ["--config", "-Z", "--color", "-C", "--manifest-path"].contains(&first.value.as_str());
            let is_option = first.value.starts_with(['+', '-']);
            match (is_option, takes_value) {
                (true, true) => words = rest.get(1..).unwrap_or_default(),
                (true, false) => words = rest,
                (false, _) => break,
            }
        }
        let (first, rest) = words.split_first()?;
        let mut call = match first.value.as_str() {
            // Subcommands of these are the ones that matter.
            "auditable" => Self::of_words(rest)?,
            "chef" => {
                let mut call = Self::of_words(rest)?;
                call.verb = chef(&call.verb_word.value);
                return Some(call);
            }
            _ => Self::of_words(words)?,
        };
        call.verb = match call.verb_word.value.as_str() {
            "build" | "b" | "rustc" | "zigbuild" | "leptos" => Verb::Build,
            "install" if call.flag(words, "--path") => Verb::Build,
            "install" | "binstall" => Verb::InstallTool,
            "clean" => Verb::Clean,
            "new" | "init" => Verb::New,
            "fetch" | "vendor" | "test" | "t" | "check" | "c" | "clippy" | "run" | "r" | "bench"
            | "nextest" | "doc" | "metadata" | "tree" => Verb::OtherUse,
            _ => Verb::Nothing,
        };
        // What is installed is optimised unless `--debug` is said.
        if call.verb_word.value == "install" && call.profile == "dev" && !call.flag(words, "--debug") {
            call.profile = "release".to_owned();
        }
        Some(call)
    }

    fn flag(&self, words: &[Word], name: &str) -> bool {
        words.iter().any(|word| word.value == name || word.value.starts_with(&format!("{name}=")))
    }

    fn of_words(words: &[Word]) -> Option<Self> {
        let (verb_word, rest) = words.split_first()?;
        let own: Vec<&str> =
            rest.iter().map(|word| word.value.as_str()).take_while(|word| *word != "--").collect();
        let value = |name: &str| {
            own.iter().enumerate().find_map(|(index, word)| match word.strip_prefix(name) {
                Some("") => own.get(index + 1).map(|value| (*value).to_owned()),
                Some(rest) => rest.strip_prefix('=').map(str::to_owned),
                None => None,
            })
        };
        let has = |name: &str| own.contains(&name);
        let profile =
            if has("--release") || has("-r") { Some("release".to_owned()) } else { value("--profile") };
        Some(Self {
            verb: Verb::Nothing,
            verb_word: verb_word.clone(),
            profile: profile.unwrap_or_else(|| "dev".to_owned()),
            target: value("--target"),
            has_many_targets: own.iter().filter(|word| word.split('=').next() == Some("--target")).count()
                > 1,
            target_folder: value("--target-dir"),
            locked: has("--locked") || has("--frozen"),
            operand: own.iter().find(|word| !word.starts_with('-')).map(|word| (*word).to_owned()),
        })
    }

    /// The folder in the target folder that the profile's results lie in.
    pub(super) fn profile_folder(&self) -> &str {
        match self.profile.as_str() {
            "dev" | "test" => "debug",
            "bench" => "release",
            other => other,
        }
    }

    /// Whether it compiles packages that the sources need.
    pub(super) fn compiles(&self) -> bool {
        matches!(self.verb, Verb::Build | Verb::Cook)
    }

    /// Whether it reads the manifests and the lock file.
    pub(super) fn uses_workspace(&self) -> bool {
        matches!(self.verb, Verb::Build | Verb::OtherUse)
    }
}

fn chef(verb: &str) -> Verb {
    match verb {
        "cook" => Verb::Cook,
        "prepare" => Verb::Prepare,
        _ => Verb::Nothing,
    }
}
