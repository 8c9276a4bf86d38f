//! What programs download, kept between commands: files with known digests, each in the folder of its origin.
//!
//! They are in a mounted folder (`carrack_store`), one for all programs that file them alike. A file is used only if its bytes
//! have the digest that the call expects, so it does not matter who has put it there. What a call did not use is taken out
//! again: the root is afterwards as it would be without.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use carrack_base::{Digest, Sha256Writer, open_regular_itself};
use carrack_graph::{Call, Download, DownloadPlace};
use carrack_sandbox::Process;
use carrack_store::{Hold, MountFolder, StoreError};

use super::around::{give, make_folders};
use super::talk::Host;
use crate::harvested::{PATIENCE, take_locks};

/// Larger than any package of a registry.
const LIMIT: u64 = 1 << 30;

/// The downloads of one call.
pub(super) struct Downloads<'a> {
    place: DownloadPlace,
    kept: MountFolder,
    process: &'a Process,
    host: &'a Host<'a>,
    owner: Option<(u32, u32)>,
    /// Files that were put there, as `<origin>/<file>`.
    put_back: Vec<String>,
    /// Folders and marks that were made, in this order.
    made: Vec<PathBuf>,
}

impl<'a> Downloads<'a> {
    pub(super) fn new(
        place: DownloadPlace,
        process: &'a Process,
        host: &'a Host<'a>,
    ) -> Result<Self, StoreError> {
        let kept = host.store.mount_folder(&place.name, Hold::Shared, host.cancel, || {})?;
        let owner = host.gives_away.then_some((process.uid, process.gid));
        Ok(Self { place, kept, process, host, owner, put_back: Vec::new(), made: Vec::new() })
    }

    /// What the call may need. A name that leads elsewhere is nobody's.
    fn wanted(&self, call: &dyn Call) -> io::Result<Vec<Download>> {
        let mut wanted = self.process.visit(|| call.downloads())?;
        wanted.retain(|download| !download.file.contains('/'));
        Ok(wanted)
    }

    /// Puts back what is missing of what the call may need.
    pub(super) fn before(&mut self, call: &dyn Call) -> io::Result<()> {
        let wanted = self.wanted(call)?;
        let kept = names(self.kept.path());
        let mut offered = Vec::new();
        for Download { file, digest } in wanted {
            for origin in &kept {
                // Opened here: where the process is, there is no name for it.
                if let Ok(bytes) = File::open(self.kept.path().join(origin).join(&file)) {
                    offered.push((format!("{origin}/{file}"), digest, bytes));
                }
            }
        }
        if offered.is_empty() {
            return Ok(());
        }
        let process = self.process;
        let damaged = process.visit(|| self.put_back(call, offered))??;
        for path in damaged {
            fs::remove_file(self.kept.path().join(path))?;
        }
        Ok(())
    }

    /// Returns what was kept and has other bytes than it should.
    fn put_back(&mut self, call: &dyn Call, offered: Vec<(String, Digest, File)>) -> io::Result<Vec<String>> {
        let has_to_stop = |_| (self.host.is_over)() || self.process.has_ended();
        let owner = self.owner;
        make_folders(&self.place.home, owner)?;
        let made_lock = |path: &Path| give(path, owner);
        let Some(_locks) = take_locks(&self.place.home, self.place.locks, &has_to_stop, &made_lock)? else {
            return Ok(Vec::new());
        };
        let mut damaged = Vec::new();
        for (path, digest, bytes) in offered {
            let to = self.place.home.join(self.place.folder).join(&path);
            // Where the program has unpacked it and removed it since, whether it needs it again is not known.
            if fs::symlink_metadata(&to).is_ok() || call.has_used(&path) {
                continue;
            }
            let origin = path.split('/').next().unwrap_or_default();
            self.make_folders(&Path::new(self.place.folder).join(origin))?;
            let is_right = copy_verified(bytes, &to, digest, owner)?;
            if is_right { self.put_back.push(path) } else { damaged.push(path) }
        }
        Ok(damaged)
    }

    fn make_folders(&mut self, below: &Path) -> io::Result<()> {
        let mut folder = self.place.home.clone();
        for name in below.components() {
            folder.push(name);
            match fs::create_dir(&folder) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            give(&folder, self.owner)?;
            self.made.push(folder.clone());
            if folder == self.place.home.join(self.place.marked) {
                let (name, text) = self.place.mark;
                let mark = folder.join(name);
                File::create_new(&mark)?.write_all(text.as_bytes())?;
                give(&mark, self.owner)?;
                self.made.push(mark);
            }
        }
        Ok(())
    }

    /// Takes out what the call did not use, and keeps what is new.
    pub(super) fn after(&self, call: &dyn Call) -> io::Result<()> {
        let wanted = self.wanted(call)?;
        let found = self.process.visit(|| {
            self.take_out_unused(call)?;
            io::Result::Ok(self.found(&wanted))
        })??;
        for (path, digest, bytes) in found {
            let to = self.kept.path().join(&path);
            if to.exists() {
                continue;
            }
            fs::create_dir_all(to.parent().unwrap_or(&to))?;
            copy_verified(bytes, &to, digest, None)?;
        }
        Ok(())
    }

    fn take_out_unused(&self, call: &dyn Call) -> io::Result<()> {
        let unused: Vec<&String> = self.put_back.iter().filter(|path| !call.has_used(path)).collect();
        if unused.is_empty() {
            return Ok(());
        }
        // Another call may be about to use it.
        let is_enough = |waited| waited > PATIENCE;
        let Some(_locks) = take_locks(&self.place.home, self.place.locks, &is_enough, &|_| Ok(()))? else {
            return Ok(());
        };
        for path in unused.into_iter().filter(|path| !call.has_used(path)) {
            fs::remove_file(self.place.home.join(self.place.folder).join(path))?;
        }
        let marked = self.place.home.join(self.place.marked);
        let marked_alone = || names(&marked) == [self.place.mark.0];
        for path in self.made.iter().rev() {
            // One with something in it stays.
            let _ = match path.parent() == Some(&marked) && path.ends_with(self.place.mark.0) {
                true if marked_alone() => fs::remove_file(path),
                true => Ok(()),
                false => fs::remove_dir(path),
            };
        }
        Ok(())
    }

    /// What is there of `wanted`.
    fn found(&self, wanted: &[Download]) -> Vec<(String, Digest, File)> {
        let folder = self.place.home.join(self.place.folder);
        let mut found = Vec::new();
        for origin in names(&folder) {
            for Download { file, digest } in wanted {
                let path = format!("{origin}/{file}");
                if self.put_back.contains(&path) {
                    continue;
                }
                let Ok(file) = open_regular_itself(&folder.join(&path)) else { continue };
                found.push((path, *digest, file));
            }
        }
        found
    }
}

/// Copies `bytes` to a new file if they have that digest; whether they have. Beside and renamed: others may look at the moment.
fn copy_verified(bytes: File, to: &Path, digest: Digest, owner: Option<(u32, u32)>) -> io::Result<bool> {
    let draft = to.with_added_extension(format!("{}", std::process::id()));
    let copied = (|| {
        let mut writer = Sha256Writer::new(File::create_new(&draft)?);
        io::copy(&mut bytes.take(LIMIT), &mut writer)?;
        Ok(writer.finish().1 == digest)
    })();
    match copied {
        Ok(true) => {
            give(&draft, owner)?;
            fs::rename(&draft, to)?;
        }
        _ => drop(fs::remove_file(&draft)),
    }
    copied
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
