//! The port to programs that commands of a root file system call on their own, with kept units around each call.
//!
//! ```text
//! programs? → called? → question (the program answers) → answered → choose → without_disturbing → the call → harvest
//!                                                            └ local (before and after)                       └ unused
//! ```
//!
//! All but [`CalledProgram::programs`] is asked where paths mean what they mean to the program.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use carrack_base::{ContentDigest, Digest};

use crate::{HarvestedUnit, OfferedUnit};

/// A root file system that is not mounted.
pub trait RootView {
    /// Where a path leads, if there is a regular file.
    fn file(&self, path: &str) -> Option<String>;

    /// The content of the regular file at a path.
    fn content(&self, path: &str) -> Option<ContentDigest>;

    /// The names in a folder.
    fn names(&self, folder: &str) -> Vec<String>;
}

/// Someone who knows a program that commands call.
pub trait CalledProgram: Send + Sync {
    /// Where the program is in a root, as regular files. `variables` are those of the command.
    fn programs(&self, root: &dyn RootView, variables: &BTreeMap<String, String>) -> Vec<String>;

    /// A call; `None` if kept units are of no use to it.
    fn called(&self, call: &Invocation) -> Option<Box<dyn Call>>;
}

/// How a program was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program, one of [`CalledProgram::programs`].
    pub program: PathBuf,
    /// Its content.
    pub content: Option<ContentDigest>,
    /// Its arguments, without its name.
    pub arguments: Vec<OsString>,
    /// Where it runs.
    pub folder: PathBuf,
    /// Its environment.
    pub variables: BTreeMap<String, String>,
}

/// What the program is asked before anything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables that it gets besides those of the call.
    pub variables: BTreeMap<String, OsString>,
}

/// Where a call finds and leaves units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPlace {
    /// Under which name its units are kept.
    pub realm: ContentDigest,
    /// The folder that units' paths are relative to, absolute.
    pub folder: PathBuf,
    /// A file that the program makes in this folder if it makes the folder.
    pub mark: (&'static str, &'static str),
    /// The part of it that the call works in, below [`CallPlace::folder`].
    pub part: String,
    /// Files in that part which the program locks, if they are there; the first in any case.
    pub locks: &'static [&'static str],
    /// Who makes the units, for people.
    pub workspace: String,
}

/// Where a program keeps what it downloads: a folder with a folder for each origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadPlace {
    /// Programs that file what they download alike have the same name for it.
    pub name: String,
    /// The program's own folder, absolute.
    pub home: PathBuf,
    /// The folder for downloads, below [`DownloadPlace::home`].
    pub folder: &'static str,
    /// A folder on the way there which gets a mark, if the program makes it.
    pub marked: &'static str,
    /// That mark: name and text.
    pub mark: (&'static str, &'static str),
    /// Files in [`DownloadPlace::home`] that the program locks meanwhile.
    pub locks: &'static [&'static str],
}

/// A file that a program may have to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Its name.
    pub file: String,
    /// Digest of its bytes.
    pub digest: Digest,
}

/// A unit that was compiled from sources which can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalUnit {
    /// The name of its package.
    pub package: String,
    /// Digest of all that it consists of.
    pub key: ContentDigest,
    /// Digest of the content that its sources have now; `None` if one of them changed a moment ago, while the program may
    /// have read it.
    pub sources: Option<ContentDigest>,
    /// What has to be removed, below [`CallPlace::folder`], so that the program makes it anew.
    pub proof: String,
}

/// One call of a program.
pub trait Call: Send + Sync {
    /// What the program is to be asked.
    fn question(&self) -> Question;

    /// Takes the answer; `None` if there is nothing to be done.
    fn answered(&mut self, answer: &[u8]) -> Option<CallPlace>;

    /// The variable through which the program takes the jobs of whoever starts it, as GNU make does; `None` if the call itself
    /// says how many it runs.
    fn jobs_variable(&self) -> Option<&'static str>;

    /// Where the program keeps what it downloads; `None` if it is not known.
    fn download_place(&self) -> Option<DownloadPlace>;

    /// What the call may have to download.
    fn downloads(&self) -> Vec<Download>;

    /// Whether the program has used the download `<origin>/<file>`.
    fn has_used(&self, download: &str) -> bool;

    /// The units among `offered` that fit, each after those that it needs.
    fn choose(&mut self, offered: Vec<OfferedUnit>) -> Vec<ContentDigest>;

    /// Those that were chosen and may be put into the folder, where those of them named in `lying` are.
    ///
    /// Errors: something that is there can't be read.
    fn without_disturbing(&self, lying: &[ContentDigest]) -> io::Result<Vec<ContentDigest>>;

    /// The units in the folder whose sources can change. Those of which one changed after `since` have unknown ones.
    ///
    /// Errors: something that is there can't be read.
    fn local(&self, since: Option<SystemTime>) -> io::Result<Vec<LocalUnit>>;

    /// The units in the folder that are not among `kept` and can be kept, each after those that it needs. What is in `kept`
    /// must lie there, with the very same bytes.
    ///
    /// Errors: something that is there can't be read.
    fn harvest(&mut self, kept: &[OfferedUnit]) -> io::Result<Vec<HarvestedUnit>>;

    /// Those of `planted`, which were chosen, that nothing else in the folder was made with.
    ///
    /// Errors: something that is there can't be read.
    fn unused(&self, planted: &[ContentDigest]) -> io::Result<Vec<ContentDigest>>;
}
