//! The files of a local image: in a folder, or in a tar that is read where it lies.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::PullError;
use crate::tar_reader::TarReader;

/// Links from name to name that are followed: `docker save` of old linked layers that images share.
const LINK_LIMIT: usize = 8;

/// Named files. Names have no leading `./`.
pub(super) trait Files: Sync {
    /// What holds them.
    fn path(&self) -> &Path;
    /// A file's bytes and their number, if there is one of this name.
    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn Read + '_>, u64)>>;

    /// A whole file of at most `limit` bytes.
    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, PullError> {
        let failed = |source| PullError::Read { path: self.path().join(name), source };
        let Some((mut reader, size)) = self.open(name).map_err(failed)? else { return Ok(None) };
        if size > limit {
            let problem = format!("{name} has {size} bytes, too many for a document");
            return Err(PullError::NotAnImage { path: self.path().to_owned(), problem });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        reader.read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }
}

pub(super) struct FolderFiles<'a>(pub(super) &'a Path);

impl Files for FolderFiles<'_> {
    fn path(&self) -> &Path {
        self.0
    }

    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn Read + '_>, u64)>> {
        let file = match File::open(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Some((Box::new(file), metadata.len())))
    }
}

pub(super) struct ArchiveFiles {
    path: PathBuf,
    file: File,
    entries: HashMap<String, Place>,
}

enum Place {
    /// Offset and size.
    Content(u64, u64),
    /// The name of another file.
    Link(String),
}

impl ArchiveFiles {
    /// Looks through a tar, without reading its files. `shown` is what errors call it.
    pub(super) fn open(path: &Path, shown: &Path) -> Result<Self, PullError> {
        let failed = |source| PullError::Read { path: shown.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        let mut entries = HashMap::new();
        let mut archive = TarReader::new(&file);
        let no_archive = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => PullError::NotAnImage {
                path: shown.to_owned(),
                problem: format!("it is no tar archive: {error}"),
            },
            _ => failed(error),
        };
        while let Some(entry) = archive.next_entry().map_err(no_archive)? {
            let start = archive.seek_past().map_err(failed)?;
            let name = name_of(&String::from_utf8_lossy(&entry.path), "");
            let link = String::from_utf8_lossy(&entry.link);
            let place = match entry.kind {
                b'0' => Place::Content(start, entry.size),
                b'1' => Place::Link(name_of(&link, "")),
                b'2' => Place::Link(name_of(&link, name.rsplit_once('/').map_or("", |(folder, _)| folder))),
                _ => continue,
            };
            entries.insert(name, place);
        }
        Ok(Self { path: shown.to_owned(), file, entries })
    }
}

impl Files for ArchiveFiles {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &str) -> io::Result<Option<(Box<dyn Read + '_>, u64)>> {
        let mut name = name_of(name, "");
        for _ in 0..LINK_LIMIT {
            match self.entries.get(&name) {
                None => return Ok(None),
                Some(Place::Link(target)) => name.clone_from(target),
                Some(Place::Content(start, size)) => {
                    let slice = Slice { file: &self.file, position: *start, left: *size };
                    return Ok(Some((Box::new(slice), *size)));
                }
            }
        }
        Ok(None)
    }
}

/// The plain name of what `path`, seen from `folder`, leads to.
fn name_of(path: &str, folder: &str) -> String {
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

/// A part of a file, read without moving the file's own position.
struct Slice<'a> {
    file: &'a File,
    position: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.left.min(buffer.len() as u64) as usize;
        let count = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
