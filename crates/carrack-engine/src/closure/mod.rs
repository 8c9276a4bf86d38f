//! What a program needs of the host to start: its ELF closure.
//!
//! The dynamic loader's own rules are followed (`DT_NEEDED` transitively, `DT_RPATH`, `DT_RUNPATH`, `$ORIGIN`, the
//! folders of `ld.so.conf`, the built-in folders of Debian and of others), so that the image holds what the loader would
//! have loaded here. What a program opens by name at run time (`dlopen`) can't be known and is not followed. glibc's
//! name services, certificates and time zones are added by rule, not by ELF.

mod elf;
mod search;
#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use memchr::memmem;
use serde::{Deserialize, Serialize};

pub(crate) use elf::{ElfError, ElfFile};
pub(crate) use search::Loader;
use search::SearchPath;

/// Something that a program needs, and where it goes in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ClosureEntry {
    /// A file, copied with its permission bits.
    File { to: String, from: PathBuf },
    /// A symbolic link.
    Link { to: String, target: String },
    /// A folder with everything in it.
    Folder { to: String, from: PathBuf },
    /// A file that is written here.
    Text { to: String, text: String },
}

/// The closure of one program.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    pub(crate) entries: Vec<ClosureEntry>,
    /// Host files that were read, and places where the loader would look first and where nothing is now.
    pub(crate) consulted: BTreeSet<PathBuf>,
    /// Things worth a warning.
    pub(crate) notes: Vec<String>,
}

/// Why there is no closure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClosureError {
    #[error(transparent)]
    Elf(#[from] ElfError),
    #[error("{library} is not on this machine, and {needed_by} needs it")]
    Missing { library: String, needed_by: PathBuf, searched: Vec<PathBuf> },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
}

const CERTIFICATES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                        protocols: files\nservices: files\n";

/// Finds what `binary` needs. Paths are the host's.
///
/// Errors: it is no ELF file; a library that it needs, directly or not, is nowhere; something can't be read.
pub(crate) fn closure(binary: &Path, timezones: bool) -> Result<Closure, ClosureError> {
    configured_closure(binary, timezones, Path::new("/etc/ld.so.conf"))
}

fn configured_closure(binary: &Path, timezones: bool, configuration: &Path) -> Result<Closure, ClosureError> {
    let mut closure = Closure::default();
    let program = ElfFile::read(binary)?;
    if let Some(interpreter) = &program.interpreter {
        let libraries = Libraries::find(binary, program.clone(), interpreter, configuration, &mut closure)?;
        libraries.place(interpreter, &mut closure);
        if let Some(libc) = libraries.found.get("libc.so.6") {
            name_services(libc, &mut closure)?;
        }
    }
    let bundle = CERTIFICATES.iter().position(|path| Path::new(path).is_file());
    let looked_at = bundle.map_or(CERTIFICATES.len(), |index| index + 1);
    closure.consulted.extend(CERTIFICATES[..looked_at].iter().map(PathBuf::from));
    match bundle.map(|index| Path::new(CERTIFICATES[index])) {
        Some(bundle) => {
            closure
                .entries
                .push(ClosureEntry::File { to: CERTIFICATES[0].to_owned(), from: bundle.to_owned() });
        }
        None => {
            closure.notes.push("this machine has no CA certificates; the image has none either".to_owned());
        }
    }
    if timezones {
        let zones = Path::new("/usr/share/zoneinfo");
        if zones.is_dir() {
            closure.entries.push(ClosureEntry::Folder { to: image_path(zones), from: zones.to_owned() });
        } else {
            closure
                .notes
                .push("this machine has no time zone database; the image has none either".to_owned());
        }
        closure.consulted.insert(zones.to_owned());
    }
    Ok(closure)
}

struct Libraries {
    /// Where each needed name was found.
    found: BTreeMap<String, PathBuf>,
}

impl Libraries {
    fn find(
        binary: &Path,
        program: ElfFile,
        interpreter: &Path,
        configuration: &Path,
        closure: &mut Closure,
    ) -> Result<Self, ClosureError> {
        let loader = Loader::of(interpreter);
        let mut search = SearchPath::new(loader, binary, configuration)
            .map_err(|(path, source)| ClosureError::Read { path, source })?;
        closure.consulted.extend(search.configuration.iter().cloned());
        closure.consulted.insert(interpreter.to_owned());
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        // Each object with the RPATHs of those that led to it: the loader asks them too.
        let mut queue = VecDeque::from([(binary.to_owned(), program, Vec::<PathBuf>::new())]);
        while let Some((path, file, inherited)) = queue.pop_front() {
            let own = search.paths_of(&path, &file, &inherited);
            for needed in &file.needed {
                if loader.is_itself(interpreter, needed) || found.contains_key(needed) {
                    continue;
                }
                let Some((library, parsed)) = search.find(needed, &own, &file) else {
                    return Err(ClosureError::Missing {
                        library: needed.clone(),
                        needed_by: path,
                        searched: search.folders(&own),
                    });
                };
                found.insert(needed.clone(), library.clone());
                queue.push_back((library, parsed, own.inherited.clone()));
            }
        }
        closure.consulted.extend(search.absent);
        closure.consulted.extend(found.values().cloned());
        Ok(Self { found })
    }

    /// Puts loader and libraries where the loader finds them without a cache file.
    fn place(&self, interpreter: &Path, closure: &mut Closure) {
        let mut links = BTreeMap::new();
        let built_in = Loader::of(interpreter).folders();
        let home = self
            .found
            .get("libc.so.6")
            .and_then(|libc| libc.parent())
            .map_or_else(|| PathBuf::from("/usr/lib"), Path::to_owned);
        let files = self.found.iter().map(|(name, from)| {
            let folder =
                from.parent().filter(|folder| built_in.contains(&folder.to_path_buf())).unwrap_or(&home);
            (folder.join(name), from.clone())
        });
        let mut placed: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for (to, from) in std::iter::once((interpreter.to_owned(), interpreter.to_owned())).chain(files) {
            let to = through_links(&to, &mut links);
            match placed.entry(from.canonicalize().unwrap_or_else(|_| from.clone())) {
                // Two copies of one library would be loaded as two.
                Entry::Occupied(first) if *first.get() != to => {
                    closure
                        .entries
                        .push(ClosureEntry::Link { to: image_path(&to), target: image_path(first.get()) });
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => {
                    place.insert(to.clone());
                    closure.entries.push(ClosureEntry::File { to: image_path(&to), from });
                }
            }
        }
        for (to, target) in links {
            closure.entries.push(ClosureEntry::Link { to: image_path(&to), target });
        }
    }
}

/// glibc reads its name services by name at run time: built in since 2.34, files of their own before.
fn name_services(libc: &Path, closure: &mut Closure) -> Result<(), ClosureError> {
    closure
        .entries
        .push(ClosureEntry::Text { to: "/etc/nsswitch.conf".to_owned(), text: NSSWITCH.to_owned() });
    let bytes = std::fs::read(libc).map_err(|source| ClosureError::Read { path: libc.to_owned(), source })?;
    if glibc_minor(&bytes).is_some_and(|minor| minor < 34) {
        let mut links = BTreeMap::new();
        for name in ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"] {
            let from = libc.with_file_name(name);
            closure.consulted.insert(from.clone());
            let to = image_path(&through_links(&from, &mut links));
            let entry = ClosureEntry::File { to, from: from.clone() };
            if from.is_file() && !closure.entries.contains(&entry) {
                closure.entries.push(entry);
            }
        }
    }
    Ok(())
}

/// The minor number of glibc's version, from the banner that every build of it carries.
fn glibc_minor(libc: &[u8]) -> Option<u32> {
    const BANNER: &[u8] = b"release version 2.";
    let start = memmem::find(libc, BANNER)? + BANNER.len();
    let digits: Vec<u8> = libc[start..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Rewrites the folder of `path` without the symbolic links among the root's own entries (`/lib` → `usr/lib`), and
/// notes those links: the image gets them too.
fn through_links(path: &Path, links: &mut BTreeMap<PathBuf, String>) -> PathBuf {
    let mut parts = path.components();
    parts.next();
    let Some(first) = parts.next() else { return path.to_owned() };
    let top = Path::new("/").join(first);
    match std::fs::read_link(&top) {
        Ok(target) if target.to_str().is_some() => {
            links.insert(top, target.display().to_string());
            Path::new("/").join(target).join(parts.as_path())
        }
        _ => path.to_owned(),
    }
}

/// The host's path as the image has it.
fn image_path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
