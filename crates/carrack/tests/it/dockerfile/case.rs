//! One case: a Dockerfile, its context, the options, and what it is there to show.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags};
use serde_json::Value;

use crate::ordinary::give_away;

/// A case of the suite. Built up by its methods; the words `@busybox`, `@debian`, `@parent`, `@http`, `@git`, `@agent` and `@self`
/// (the case's folder) in the Dockerfile, the context, the options and the variables stand for what [`super::oracle::Oracle`]
/// has.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) dockerfile: String,
    /// Where the Dockerfile is, relative to the context.
    pub(crate) dockerfile_at: &'static str,
    pub(crate) arguments: Vec<&'static str>,
    pub(crate) environment: Vec<(&'static str, &'static str)>,
    /// The folder that is built from, relative to the case's.
    pub(crate) context: &'static str,
    items: Vec<(&'static str, Item)>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) reach: Reach,
    /// What Docker says when it refuses; `None` if it builds.
    pub(crate) refused: Option<&'static str>,
}

/// Which engine can tell what is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Any Docker of the last years.
    Old,
    /// A current one.
    Current,
    /// None that this machine can have: the dialect has it, the release here does not. The facts alone decide.
    Beyond,
}

/// What is true of Docker's image.
pub(crate) enum Fact {
    /// The line of a path begins so: [`carrack_testkit::FileLine`].
    Has(&'static str, &'static str),
    Lacks(&'static str),
    /// The bytes of a file.
    Reads(&'static str, &'static str),
    /// A member of `config`; `null` stands for none.
    Config(&'static str, Value),
}

enum Item {
    File(Vec<u8>),
    Folder,
    Symlink(&'static str),
    HardLink(&'static str),
    Fifo,
    Mode(u32),
    Attribute(&'static str, &'static [u8]),
    /// The name is not the item's, but these bytes.
    Odd(&'static [u8], &'static str),
}

/// A case with the Dockerfile `text`: an empty first line and the margin are taken away.
pub(crate) fn case(name: &'static str, text: &str) -> Case {
    Case {
        name,
        dockerfile: without_margin(text),
        dockerfile_at: "Dockerfile",
        arguments: Vec::new(),
        environment: Vec::new(),
        context: ".",
        items: Vec::new(),
        facts: Vec::new(),
        reach: Reach::Current,
        refused: None,
    }
}

impl Case {
    pub(crate) fn file(self, path: &'static str, content: impl AsRef<[u8]>) -> Self {
        self.item(path, Item::File(content.as_ref().to_vec()))
    }

    /// A file for each path, with the path as its content.
    pub(crate) fn files(self, paths: &[&'static str]) -> Self {
        paths.iter().fold(self, |case, path| case.file(path, path))
    }

    pub(crate) fn folder(self, path: &'static str) -> Self {
        self.item(path, Item::Folder)
    }

    pub(crate) fn symlink(self, path: &'static str, target: &'static str) -> Self {
        self.item(path, Item::Symlink(target))
    }

    pub(crate) fn hard_link(self, path: &'static str, first: &'static str) -> Self {
        self.item(path, Item::HardLink(first))
    }

    pub(crate) fn fifo(self, path: &'static str) -> Self {
        self.item(path, Item::Fifo)
    }

    pub(crate) fn mode(self, path: &'static str, mode: u32) -> Self {
        self.item(path, Item::Mode(mode))
    }

    pub(crate) fn attribute(self, path: &'static str, name: &'static str, value: &'static [u8]) -> Self {
        self.item(path, Item::Attribute(name, value))
    }

    /// A file in `folder` whose name is these bytes.
    pub(crate) fn odd_file(self, folder: &'static str, name: &'static [u8], content: &'static str) -> Self {
        self.item(folder, Item::Odd(name, content))
    }

    pub(crate) fn arguments(mut self, arguments: &[&'static str]) -> Self {
        self.arguments.extend(arguments);
        self
    }

    pub(crate) fn environment(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    pub(crate) fn dockerfile_at(mut self, path: &'static str) -> Self {
        self.dockerfile_at = path;
        self
    }

    /// Builds from a folder below the case's.
    pub(crate) fn context(mut self, path: &'static str) -> Self {
        self.context = path;
        self
    }

    pub(crate) fn has(mut self, path: &'static str, line: &'static str) -> Self {
        self.facts.push(Fact::Has(path, line));
        self
    }

    pub(crate) fn lacks(mut self, path: &'static str) -> Self {
        self.facts.push(Fact::Lacks(path));
        self
    }

    pub(crate) fn reads(mut self, path: &'static str, text: &'static str) -> Self {
        self.facts.push(Fact::Reads(path, text));
        self
    }

    pub(crate) fn config(mut self, member: &'static str, value: Value) -> Self {
        self.facts.push(Fact::Config(member, value));
        self
    }

    /// Docker refuses, and says this.
    pub(crate) fn refused(mut self, text: &'static str) -> Self {
        self.refused = Some(text);
        self
    }

    /// An engine of the last years will do.
    pub(crate) fn old(mut self) -> Self {
        self.reach = Reach::Old;
        self
    }

    /// No engine here knows it.
    pub(crate) fn beyond(mut self) -> Self {
        self.reach = Reach::Beyond;
        self
    }

    fn item(mut self, path: &'static str, item: Item) -> Self {
        self.items.push((path, item));
        self
    }

    /// Writes Dockerfile and context below `folder`, with the words of `said` filled in, as files of the ordinary user's.
    pub(crate) fn lay_out(&self, folder: &Path, said: &dyn Fn(&str) -> String) {
        let new = |path: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        let context = folder.join(self.context.trim_start_matches('.'));
        fs::create_dir_all(&context).unwrap();
        let dockerfile = context.join(self.dockerfile_at);
        fs::create_dir_all(dockerfile.parent().unwrap()).unwrap();
        fs::write(dockerfile, said(&self.dockerfile)).unwrap();
        for (path, item) in &self.items {
            match item {
                Item::File(content) => match str::from_utf8(content) {
                    Ok(text) => fs::write(new(path), said(text)).unwrap(),
                    Err(_) => fs::write(new(path), content).unwrap(),
                },
                Item::Folder => fs::create_dir_all(new(path)).unwrap(),
                Item::Symlink(target) => symlink(target, new(path)).unwrap(),
                Item::HardLink(first) => fs::hard_link(folder.join(first), new(path)).unwrap(),
                Item::Fifo => rustix::fs::mkfifoat(CWD, new(path), Mode::from_raw_mode(0o640)).unwrap(),
                Item::Odd(name, content) => {
                    fs::create_dir_all(folder.join(path)).unwrap();
                    let name = OsStr::from_bytes(name);
                    fs::write(folder.join(path).join(name), content).unwrap();
                }
                Item::Mode(_) | Item::Attribute(..) => {}
            }
        }
        // Whose the files of a context are counts for nobody, and it takes modes and attributes away.
        give_away(folder);
        for (path, item) in &self.items {
            match item {
                Item::Mode(mode) => {
                    fs::set_permissions(folder.join(path), fs::Permissions::from_mode(*mode)).unwrap();
                }
                Item::Attribute(name, value) => {
                    rustix::fs::lsetxattr(folder.join(path), *name, value, XattrFlags::empty()).unwrap();
                }
                _ => {}
            }
        }
        set_times(folder, &mut 0);
    }
}

/// Gives everything below `folder` a time of its own. Docker takes a file for unchanged if its size and time are those of the
/// file below it in the layers, and what is written in one go often has one time.
fn set_times(folder: &Path, count: &mut i64) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.is_symlink() {
            set_times(&path, count);
        }
        *count += 1;
        let time = Timespec { tv_sec: 1_700_000_000 + *count, tv_nsec: 1 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn without_margin(text: &str) -> String {
    // What is written in one line has none.
    let Some(text) = text.strip_prefix('\n') else { return text.to_owned() };
    let indentation = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let is_indented = |line: &&str| !line.trim().is_empty() && !line.starts_with('\t');
    let margin = text.lines().filter(is_indented).map(indentation).min().unwrap_or(0);
    let own = |line: &str| line[indentation(line).min(margin)..].to_owned() + "\n";
    let text: String = text.lines().map(own).collect();
    // The last line holds only the closing quote.
    text.trim_end_matches(['\n', ' ']).to_owned() + "\n"
}

#[test]
fn margins_are_taken_away() {
    let check = |text: &str, expected: &str| assert_eq!(without_margin(text), expected);
    check("FROM x", "FROM x");
    check("\n    FROM x\n    RUN <<E\n      a\n\t\tb\n    E\n", "FROM x\nRUN <<E\n  a\n\t\tb\nE\n");
}
