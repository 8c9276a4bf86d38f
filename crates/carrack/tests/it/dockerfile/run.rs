//! Runs the cases of one area, all of them, and tells about all that failed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use carrack_testkit::{Difference, FileLine, Finished, Image, compare, skipped};
use serde_json::Value;

use super::case::{Case, Fact, Reach};
use super::exceptions::{cannot, cannot_without_root, is_excepted};
use super::oracle::{Oracle, Wanted};
use crate::ordinary::give_away;

/// Differences that are shown of one case; the rest is counted.
const SHOWN: usize = 20;

/// A case that is laid out and was given to one engine or both.
struct Attempt<'c> {
    case: &'c Case,
    /// Of the case: context, archives.
    folder: PathBuf,
    name: String,
}

pub(crate) fn all(area: &str, cases: Vec<Case>) {
    let oracle = match Oracle::shared() {
        Ok(oracle) => oracle,
        Err(why) => return skipped(&format!("dockerfile {area}"), why),
    };
    let wanted = std::env::var("CARRACK_CASES").unwrap_or_default();
    let is_wanted = |case: &&Case| wanted.split(',').any(|start| case.name.starts_with(start));
    let mut failures = Vec::new();
    for case in cases.iter().filter(is_wanted) {
        if let Some(why) = missing(oracle, case) {
            skipped(&format!("dockerfile {area} {}", case.name), why);
            continue;
        }
        if let Err(failure) = one(oracle, case) {
            failures.push(format!("── {} ──\n{failure}", case.name));
        }
    }
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// What a case needs that is not here.
fn missing(oracle: &Oracle, case: &Case) -> Option<&'static str> {
    let mentions = |word: &str| {
        case.dockerfile.contains(word) || case.arguments.iter().any(|argument| argument.contains(word))
    };
    match case.reach {
        Reach::Current if !oracle.is_current => Some("it needs a current Docker"),
        Reach::Old if !oracle.is_current && !makes_layers(case) => {
            Some("an older Docker saves no image without layers")
        }
        _ if mentions("@git") && !oracle.has_git() => Some("git is not installed"),
        _ if mentions("@ssh") && !oracle.has_ssh() => Some("openssh-client is not installed"),
        _ if mentions("@debian") && !oracle.has_debian() => Some("mmdebstrap is not installed"),
        _ => None,
    }
}

/// Whether there is anything in the image but a configuration.
fn makes_layers(case: &Case) -> bool {
    case.refused.is_some()
        || ["ADD ", "COPY ", "RUN ", "WORKDIR ", "FROM @"].iter().any(|word| case.dockerfile.contains(word))
}

fn one(oracle: &Oracle, case: &Case) -> Result<(), String> {
    let folder = oracle.folder("cases").join(case.name);
    let attempt = Attempt { case, folder, name: format!("case/{}:1", case.name) };
    // A panic would leave the other cases of the area untried.
    let outcome = std::panic::catch_unwind(|| attempt.run(oracle)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        Err(said.unwrap_or_else(|| panic.downcast_ref::<&str>().copied().unwrap_or("a panic").to_owned()))
    });
    let kept = std::env::var_os("CARRACK_CASES_KEEP").filter(|_| outcome.is_err());
    match kept {
        Some(kept) => {
            fs::create_dir_all(&kept).unwrap();
            let to = Path::new(&kept).join(case.name);
            std::process::Command::new("cp").arg("-a").arg(&attempt.folder).arg(to).status().unwrap();
        }
        None => fs::remove_dir_all(&attempt.folder).unwrap_or_default(),
    }
    outcome
}

impl Attempt<'_> {
    fn run(&self, oracle: &Oracle) -> Result<(), String> {
        let own = self.folder.join("case");
        self.case.lay_out(&own, &|text| oracle.said(text, &own));
        let context = own.join(self.case.context);
        let said: Vec<String> =
            self.case.arguments.iter().map(|argument| oracle.said(argument, &own)).collect();
        let mut arguments = vec!["-f", self.case.dockerfile_at];
        arguments.extend(said.iter().map(String::as_str));
        arguments.push(".");
        let environment: Vec<(&str, String)> =
            self.case.environment.iter().map(|(name, value)| (*name, oracle.said(value, &own))).collect();
        let wanted =
            Wanted { context: &context, name: &self.name, arguments: &arguments, environment: &environment };

        let archive = self.folder.join("docker.tar");
        let docker = match self.case.reach {
            Reach::Beyond => None,
            _ => {
                let finished = oracle.docker(&wanted, &archive);
                self.keep("docker.log", &finished);
                self.check_outcome("Docker", &finished, |code| code != 0)?;
                if let Some(expected) = self.case.refused {
                    if !finished.stderr.contains(expected) {
                        return Err(format!(
                            "Docker refuses, but not with {expected:?}:\n{}",
                            end(&finished)
                        ));
                    }
                    None
                } else {
                    let image = Image::read(&archive);
                    self.check_facts("Docker", &image)?;
                    Some(image)
                }
            }
        };
        let archive = self.folder.join("carrack.tar");
        let finished = oracle.carrack(&wanted, &archive);
        self.keep("carrack.log", &finished);
        if let Some(why) = cannot(self.case.name) {
            let refuses = matches!(finished.code, Some(1 | 2));
            let told = || format!("Carrack was taken for unable to build it ({why}):\n{}", end(&finished));
            return if refuses { Ok(()) } else { Err(told()) };
        }
        // A step that failed, or a Dockerfile that can't be understood, or a registry that has it not.
        self.check_outcome("Carrack", &finished, |code| matches!(code, 1 | 2 | 4))?;
        self.run_without_root(oracle, &wanted, &finished, &archive)?;
        if self.case.refused.is_some() {
            return Ok(());
        }
        let image = Image::read(&archive);
        let Some(docker) = docker else { return self.check_facts("Carrack", &image) };
        let mut differences = compare(&docker, &image);
        // An older Docker tells the history in other words.
        let is_told = |place: &str| oracle.is_current || !place.starts_with("history[");
        differences
            .retain(|difference| is_told(&difference.place) && !is_excepted(self.case.name, difference));
        if differences.is_empty() { Ok(()) } else { Err(told("Docker", &differences, &docker, &image)) }
    }

    /// An ordinary user gets the same image as root did, or is refused with the same exit code.
    fn run_without_root(
        &self,
        oracle: &Oracle,
        wanted: &Wanted<'_>,
        as_root: &Finished,
        archive_of_root: &Path,
    ) -> Result<(), String> {
        let folder = self.folder.join("ordinary");
        fs::create_dir_all(&folder).unwrap();
        give_away(&folder);
        let archive = folder.join("carrack.tar");
        let Some(finished) = oracle.carrack_without_root(wanted, &archive) else { return Ok(()) };
        self.keep("ordinary.log", &finished);
        let refuses = matches!(finished.code, Some(1 | 3));
        match cannot_without_root(self.case.name) {
            Some(_) if refuses => return Ok(()),
            Some(why) => return Err(format!("an ordinary user was taken for unable to build it ({why})")),
            None => {}
        }
        if finished.code != as_root.code {
            let codes = (as_root.code, finished.code);
            return Err(format!("root and an ordinary user: exit codes {codes:?}:\n{}", end(&finished)));
        }
        if self.case.refused.is_some() {
            return Ok(());
        }
        let (of_root, own) = (Image::read(archive_of_root), Image::read(&archive));
        let differences = compare(&of_root, &own);
        if differences.is_empty() { Ok(()) } else { Err(told("root", &differences, &of_root, &own)) }
    }

    fn keep(&self, name: &str, finished: &Finished) {
        let text = format!("exit code {:?}\n{}{}", finished.code, finished.stdout, finished.stderr);
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn check_outcome(&self, who: &str, finished: &Finished, refuses: fn(i32) -> bool) -> Result<(), String> {
        match (self.case.refused, finished.code) {
            (None, Some(0)) => Ok(()),
            (Some(_), Some(code)) if refuses(code) => Ok(()),
            (None, code) => Err(format!("{who} does not build it (exit code {code:?}):\n{}", end(finished))),
            (Some(_), code) => {
                Err(format!("{who} does not refuse it (exit code {code:?}):\n{}", end(finished)))
            }
        }
    }

    fn check_facts(&self, who: &str, image: &Image) -> Result<(), String> {
        let mut wrong = String::new();
        for fact in &self.case.facts {
            let line = |path: &str| image.files.get(path).map_or("nothing", |FileLine(line)| line.as_str());
            let told = match fact {
                Fact::Has(path, start) if line(path).starts_with(start) => continue,
                Fact::Has(path, start) => format!("{path} {}, not {start}", line(path)),
                Fact::Lacks(path) if !image.files.contains_key(*path) => continue,
                Fact::Lacks(path) => format!("{path} {}, not nothing", line(path)),
                Fact::Reads(path, text) if image.texts.get(*path).is_some_and(|found| found == text) => {
                    continue;
                }
                Fact::Reads(path, text) => {
                    format!("{path} {} reads {:?}, not {text:?}", line(path), image.texts.get(*path))
                }
                Fact::Config(member, value) => {
                    let found = image.configuration["config"].get(*member).unwrap_or(&Value::Null);
                    if found == value {
                        continue;
                    }
                    format!("config.{member} is {found}, not {value}")
                }
            };
            let _ = writeln!(wrong, "  {told}");
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let listing: String = image
            .listing()
            .lines()
            .filter(|line| !line.starts_with("/bin/") && !line.starts_with("/usr/"))
            .take(60)
            .map(|line| format!("    {line}\n"))
            .collect();
        Err(format!(
            "{who} does not do what the case is to show:\n{wrong}{listing}    {}\n",
            image.configuration["config"]
        ))
    }
}

fn told(who: &str, differences: &[Difference], first: &Image, second: &Image) -> String {
    let mut text = format!("{} differences, {who} ≠ Carrack:\n", differences.len());
    for difference in differences.iter().take(SHOWN) {
        let _ = writeln!(text, "  {difference}");
        let texts = (first.texts.get(&difference.place), second.texts.get(&difference.place));
        if let (Some(first), Some(second)) = texts
            && first != second
        {
            let _ = writeln!(text, "    first:  {first:?}\n    second: {second:?}");
        }
    }
    text
}

/// The last lines of what a program said.
fn end(finished: &Finished) -> String {
    let lines: Vec<&str> = finished.stderr.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}
