//! Understands cargo's two output streams while they are written.
//!
//! Standard output is cargo's JSON messages, one a line ([`StdoutParser`]). Standard error is for people: status
//! lines, warnings, and, with `CARGO_TERM_PROGRESS_WHEN=always` and `CARGO_TERM_PROGRESS_WIDTH`, a progress bar that is
//! drawn over itself with carriage returns ([`StderrParser`]). Bytes may come in pieces of any size. What is
//! recognised becomes typed news; everything else passes through byte for byte, colours included, except for the
//! traces of the progress bar.
//!
//! Parsing never fails: a line that is not understood is passed through. Nothing is drawn and nothing is kept beyond
//! the line in hand, of which at most [`LINE_LIMIT`] bytes are held back.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// How much of one unfinished line of standard error is held back before it passes through in pieces.
pub const LINE_LIMIT: usize = 64 * 1024;

/// Something that cargo said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CargoNews {
    /// The progress bar of the compilation.
    Progress {
        /// Finished units.
        done: u64,
        /// All units.
        total: u64,
        /// The units in the works, as cargo names them (`tokio, libsqlite3-sys(build)`); may end in `...`.
        current: String,
    },
    /// Another progress bar, as for downloads.
    Activity {
        /// `Downloading`, `Fetch`, `Updating`.
        verb: String,
        /// What follows the bar (`3 crates, remaining bytes: 1.2MiB`).
        detail: String,
    },
    /// A status line.
    Status {
        /// Which.
        status: Status,
        /// The line as it was written, with colours and line end.
        line: Vec<u8>,
    },
    /// A unit is there.
    Unit {
        /// Its package.
        package: PackageName,
        /// Its target (`tokio`, `build-script-build`).
        target: String,
        /// Whether cargo found it done.
        fresh: bool,
    },
    /// A binary is there. Comes after its [`CargoNews::Unit`].
    Executable {
        /// Its package.
        package: PackageName,
        /// Its target.
        target: String,
        /// Where it lies, as cargo sees it.
        path: PathBuf,
    },
    /// The compiler has something to say.
    Diagnostic {
        /// The package that it is about.
        package: PackageName,
        /// `error`, `warning`, `note`, `help`, `failure-note`, `error: internal compiler error`.
        level: String,
        /// As rustc would print it, with colours if they were asked for.
        rendered: String,
    },
    /// The build is over.
    Finished {
        /// Whether it succeeded.
        success: bool,
    },
    /// Bytes of that stream that mean nothing to Carrack.
    Passthrough(Vec<u8>),
}

/// The status lines that a view may want to hide or to show in its own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// `Compiling`, `Checking`.
    Compiling,
    /// `Fresh`.
    Fresh,
    /// `Finished`.
    Finished,
    /// `Blocking`: cargo waits for a lock of another process. Worth showing.
    Blocking,
    /// `Updating`, `Locking`, `Downloading`, `Downloaded`, `Adding` and their like: sources are being fetched.
    Fetching,
}

/// The package that a message is about. Written as `serde 1.0.229`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName {
    /// Its name.
    pub name: String,
    /// Its version; empty if the message did not tell.
    pub version: String,
    /// Cargo's id of the package, the same as in `cargo metadata` for the same paths.
    pub id: String,
}

impl PackageName {
    /// Reads cargo's id of a package: a package id specification (`registry+https://…#serde@1.0.229`,
    /// `path+file:///work/app#0.1.0`), or the form before 1.77 (`serde 1.0.229 (registry+…)`).
    pub fn from_id(id: &str) -> Self {
        let (name, version) = match id.split_once('#') {
            Some((_, fragment)) if fragment.contains('@') => fragment.split_once('@').unwrap_or_default(),
            Some((url, version)) if version.starts_with(|first: char| first.is_ascii_digit()) => {
                let path = url.split_once('?').map_or(url, |(path, _)| path);
                (path.trim_end_matches('/').rsplit('/').next().unwrap_or_default(), version)
            }
            Some((_, name)) => (name, ""),
            None => {
                let mut words = id.split(' ');
                (words.next().unwrap_or_default(), words.next().unwrap_or_default())
            }
        };
        Self { name: name.to_owned(), version: version.to_owned(), id: id.to_owned() }
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if self.version.is_empty() { Ok(()) } else { write!(formatter, " {}", self.version) }
    }
}

/// Parses cargo's standard output under `--message-format=json`.
#[derive(Debug, Default)]
pub struct StdoutParser {
    line: Vec<u8>,
}

impl StdoutParser {
    /// Takes the next bytes and tells `news` what they complete.
    pub fn push(&mut self, bytes: &[u8], mut news: impl FnMut(CargoNews)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                message(std::mem::take(&mut self.line), &mut news);
            }
        }
    }

    /// The stream has ended.
    pub fn finish(self, mut news: impl FnMut(CargoNews)) {
        if !self.line.is_empty() {
            message(self.line, &mut news);
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        package_id: String,
        target: Target,
        executable: Option<PathBuf>,
        fresh: bool,
    },
    #[serde(rename = "compiler-message")]
    Rendered {
        package_id: String,
        message: Diagnostic,
    },
    BuildFinished {
        success: bool,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
}

fn message(line: Vec<u8>, news: &mut impl FnMut(CargoNews)) {
    let parsed = if line.starts_with(b"{") { serde_json::from_slice(&line).ok() } else { None };
    match parsed {
        Some(Message::CompilerArtifact { package_id, target, executable, fresh }) => {
            let package = PackageName::from_id(&package_id);
            news(CargoNews::Unit { package: package.clone(), target: target.name.clone(), fresh });
            if let Some(path) = executable {
                news(CargoNews::Executable { package, target: target.name, path });
            }
        }
        Some(Message::Rendered { package_id, message }) => {
            if let Some(rendered) = message.rendered {
                let package = PackageName::from_id(&package_id);
                news(CargoNews::Diagnostic { package, level: message.level, rendered });
            }
        }
        Some(Message::BuildFinished { success }) => news(CargoNews::Finished { success }),
        Some(Message::Unknown) => {}
        None => news(CargoNews::Passthrough(line)),
    }
}

/// Parses cargo's standard error.
#[derive(Debug, Default)]
pub struct StderrParser {
    segment: Vec<u8>,
    /// The segment ended in a carriage return, and whether a line feed follows is not known yet.
    returned: bool,
    /// The cursor stands on a progress bar, which the next thing written erases.
    on_bar: bool,
    /// The beginning of the segment has passed through already because it was too long.
    overlong: bool,
}

impl StderrParser {
    /// Takes the next bytes and tells `news` what they complete.
    pub fn push(&mut self, bytes: &[u8], mut news: impl FnMut(CargoNews)) {
        for &byte in bytes {
            if std::mem::take(&mut self.returned) && byte != b'\n' {
                self.end_segment(&mut news);
            }
            self.segment.push(byte);
            match byte {
                b'\n' => self.end_segment(&mut news),
                b'\r' => self.returned = true,
                _ if self.segment.len() >= LINE_LIMIT => {
                    self.overlong = true;
                    news(CargoNews::Passthrough(std::mem::take(&mut self.segment)));
                }
                _ => {}
            }
        }
    }

    /// The stream has ended.
    pub fn finish(mut self, mut news: impl FnMut(CargoNews)) {
        if !self.segment.is_empty() {
            self.end_segment(&mut news);
        }
    }

    fn end_segment(&mut self, news: &mut impl FnMut(CargoNews)) {
        let mut segment = std::mem::take(&mut self.segment);
        if std::mem::take(&mut self.overlong) {
            news(CargoNews::Passthrough(segment));
            return;
        }
        if self.on_bar && segment.starts_with(ERASE_LINE) {
            segment.drain(..ERASE_LINE.len());
        }
        let text = plain(&segment);
        if let Some(bar) = progress_bar(&text) {
            self.on_bar = true;
            news(bar);
            return;
        }
        // What is left of a bar that was only erased.
        if std::mem::take(&mut self.on_bar) && (segment.is_empty() || segment == b"\r") {
            return;
        }
        news(match status(&text) {
            Some(status) => CargoNews::Status { status, line: segment },
            None => CargoNews::Passthrough(segment),
        });
    }
}

/// What cargo writes to erase its progress bar.
const ERASE_LINE: &[u8] = b"\x1b[K";

/// The text without escape sequences.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == 0x1b {
            rest = match after {
                // CSI: parameters, then one final byte.
                [b'[', after @ ..] => {
                    let end = after.iter().position(|byte| (0x40..=0x7e).contains(byte));
                    end.map_or(&[][..], |end| &after[end + 1..])
                }
                // OSC, as in hyperlinks: until BEL or ESC backslash.
                [b']', after @ ..] => {
                    let bell = after.iter().position(|&byte| byte == 7).map(|at| at + 1);
                    let string_end = after.windows(2).position(|pair| pair == b"\x1b\\").map(|at| at + 2);
                    let end = bell.into_iter().chain(string_end).min();
                    end.map_or(&[][..], |end| &after[end..])
                }
                _ => after,
            };
        } else {
            plain.push(byte);
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// `    Building [====>    ] 71/131: tokio, libsqlite3-sys(build)      `
fn progress_bar(text: &str) -> Option<CargoNews> {
    let (verb, rest) = text.trim().split_once(" [")?;
    if verb.is_empty() || !verb.chars().all(|character| character.is_ascii_alphabetic()) {
        return None;
    }
    let (bar, detail) = rest.split_once(']')?;
    if bar.is_empty() || !bar.chars().all(|character| matches!(character, '=' | '>' | ' ')) {
        return None;
    }
    let detail = detail.trim();
    if verb == "Building" {
        let (counts, current) = detail.split_once(':').unwrap_or((detail, ""));
        let (done, total) = counts.split_once('/')?;
        let (done, total) = (done.trim().parse().ok()?, total.trim().parse().ok()?);
        return Some(CargoNews::Progress { done, total, current: current.trim().to_owned() });
    }
    Some(CargoNews::Activity { verb: verb.to_owned(), detail: detail.to_owned() })
}

/// Cargo aligns the first word of its status lines to the right, in twelve columns.
fn status(text: &str) -> Option<Status> {
    let verb = text.get(..12)?.trim_start();
    if !text[12..].starts_with(' ') || verb.contains(char::is_whitespace) {
        return None;
    }
    Some(match verb {
        "Compiling" | "Checking" => Status::Compiling,
        "Fresh" => Status::Fresh,
        "Finished" => Status::Finished,
        "Blocking" => Status::Blocking,
        "Updating" | "Locking" | "Downloading" | "Downloaded" | "Adding" | "Fetching" | "Unpacking"
        | "Downgrading" | "Removing" | "Unchanged" | "Upgrading" | "Patching" => Status::Fetching,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stderr_news(chunks: &[&[u8]]) -> Vec<CargoNews> {
        let mut all = Vec::new();
        let mut parser = StderrParser::default();
        for chunk in chunks {
            parser.push(chunk, |news| all.push(news));
        }
        parser.finish(|news| all.push(news));
        all
    }

    const STREAM: &[u8] = b"\x1b[1m\x1b[92m   Compiling\x1b[0m probe v0.1.0 (/w)\n\
        \x1b[1m\x1b[96m    Building\x1b[0m [===>      ] 1/3: probe(build.rs), tokio    \r\x1b[K\
        \x1b[1m\x1b[33mwarning\x1b[0m: probe@0.1.0: hi\n\
        \x1b[1m\x1b[96m    Building\x1b[0m [======>   ] 2/3: probe(bin)                \r\
        \x1b[1m\x1b[96m    Building\x1b[0m [======>   ] 2/3: probe(bin)                \r\x1b[K\
        note: kept\r\n50%\r100%\nin [brackets] 1/2: x\n\
        \x1b[1m\x1b[92m    Finished\x1b[0m `dev` profile\nno line end";

    #[test]
    fn progress_is_taken_out_and_all_else_kept() {
        let progress =
            |done, current: &str| CargoNews::Progress { done, total: 3, current: current.to_owned() };
        let status = |status, line: &[u8]| CargoNews::Status { status, line: line.to_owned() };
        let passed = |bytes: &[u8]| CargoNews::Passthrough(bytes.to_owned());
        assert_eq!(
            stderr_news(&[STREAM]),
            [
                status(Status::Compiling, b"\x1b[1m\x1b[92m   Compiling\x1b[0m probe v0.1.0 (/w)\n"),
                progress(1, "probe(build.rs), tokio"),
                passed(b"\x1b[1m\x1b[33mwarning\x1b[0m: probe@0.1.0: hi\n"),
                progress(2, "probe(bin)"),
                progress(2, "probe(bin)"),
                passed(b"note: kept\r\n"),
                passed(b"50%\r"),
                passed(b"100%\n"),
                passed(b"in [brackets] 1/2: x\n"),
                status(Status::Finished, b"\x1b[1m\x1b[92m    Finished\x1b[0m `dev` profile\n"),
                passed(b"no line end"),
            ]
        );
    }

    #[test]
    fn chunk_borders_change_nothing() {
        let whole = stderr_news(&[STREAM]);
        for at in 0..STREAM.len() {
            let (first, second) = STREAM.split_at(at);
            assert_eq!(stderr_news(&[first, second]), whole, "split at {at}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(stderr_news(&bytes), whole);
    }

    #[test]
    fn a_line_without_end_is_not_held_back_for_ever() {
        let long = vec![b'x'; LINE_LIMIT + 10];
        let news = stderr_news(&[&long]);
        let sizes = news.iter().map(|news| match news {
            CargoNews::Passthrough(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [LINE_LIMIT, 10]);
    }

    #[test]
    fn download_bars_and_lock_waits_are_recognised() {
        let stream = b" Downloading [=====>     ] 3 crates, remaining bytes: 1.2MiB   \r\x1b[K    Blocking waiting for file lock on package cache\n";
        let news = stderr_news(&[stream]);
        let detail = "3 crates, remaining bytes: 1.2MiB".to_owned();
        assert_eq!(news[0], CargoNews::Activity { verb: "Downloading".to_owned(), detail });
        assert!(matches!(&news[1], CargoNews::Status { status: Status::Blocking, .. }), "{news:?}");
    }

    #[test]
    fn ids_of_packages_in_all_spellings() {
        for (id, expected) in [
            ("path+file:///tmp/probe#0.1.0", "probe 0.1.0"),
            ("path+file:///tmp/folder#probe@0.1.0", "probe 0.1.0"),
            ("registry+https://github.com/rust-lang/crates.io-index#serde@1.0.229", "serde 1.0.229"),
            ("git+https://example.org/acme/lib?branch=main#0.3.0", "lib 0.3.0"),
            ("serde 1.0.1 (registry+https://github.com/rust-lang/crates.io-index)", "serde 1.0.1"),
        ] {
            assert_eq!(PackageName::from_id(id).to_string(), expected);
        }
    }

    #[test]
    fn other_output_between_the_messages_passes() {
        let mut all = Vec::new();
        let mut parser = StdoutParser::default();
        for chunk in [
            &b"hello\n{\"reason\":\"build-fini"[..],
            b"shed\",\"success\":false}\n{\"rea",
            b"son\":\"new\"}\n{broken\n",
        ] {
            parser.push(chunk, |news| all.push(news));
        }
        parser.finish(|news| all.push(news));
        assert_eq!(
            all,
            [
                CargoNews::Passthrough(b"hello\n".to_vec()),
                CargoNews::Finished { success: false },
                CargoNews::Passthrough(b"{broken\n".to_vec()),
            ]
        );
    }
}
