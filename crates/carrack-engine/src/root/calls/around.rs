//! Kept units around one call of a program in a sandbox.
//!
//! Everything that is read there is read from a thread whose root is the sandbox's; what is written goes through
//! [`UnitsFolder`]. So nothing of the sandbox can lead out of it. And only regular files are read, so nothing can hold it up.
//!
//! | key in the index | value |
//! | --- | --- |
//! | `local unit <digest of all that it consists of>` | digest of what its sources held when it was compiled |
//!
//! A unit in the folder whose sources hold something else now, or of which nothing is known, loses what proves it to the
//! program, which then makes it anew. While units are put there or read, the program's own locks are held. Before the call,
//! they are waited for, as the program would do; after it, nothing is kept if somebody else has them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use carrack_base::{BuildEvent, ContentDigest, UnitFile};
use carrack_graph::{Call, CallPlace, CalledProgram, HarvestedUnit, Invocation, OfferedUnit, Question};
use carrack_sandbox::Process;
use carrack_store::{Bucket, StoreError, UnitsFolder};
use rustix::fs::{Mode, OFlags};

use super::downloads::Downloads;
use super::talk::Host;
use crate::harvested::{PATIENCE, keep_harvested, take_locks};

/// The calls of a command that have not ended: where they make units, and since when all that is there fits its sources.
#[derive(Debug, Default)]
pub(super) struct Going(Mutex<Vec<(PathBuf, SystemTime)>>);

/// Kept units around one call.
pub(super) struct Around<'a> {
    call: Box<dyn Call>,
    process: &'a Process,
    host: &'a Host<'a>,
    going: &'a Going,
    place: Option<CallPlace>,
    downloads: Option<Downloads<'a>>,
    /// Units that were put there.
    planted: Vec<ContentDigest>,
    /// Units that fit.
    fitting: Vec<ContentDigest>,
    /// Units of changing sources that were there and fitted these.
    local: BTreeSet<ContentDigest>,
    /// Whether all units of changing sources that are left fit these; since when.
    checked: Option<SystemTime>,
}

/// What became of units.
#[derive(Debug, Default)]
pub(super) struct Counts {
    reused: BTreeSet<String>,
    compiled: BTreeSet<String>,
}

/// Why a call does without.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Files(#[from] io::Error),
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A folder of units.
enum Opened {
    /// There is none.
    Missing,
    /// Somebody else has its locks.
    Busy,
    /// Open, with its locks.
    Locked(UnitsFolder, Vec<File>),
}

/// When a folder is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The program waits for the locks as well, and has to find everything as it should be.
    Before,
    After,
}

impl Going {
    /// Since when a call is going on that makes units in `part`.
    fn since(&self, part: &Path) -> Option<SystemTime> {
        let going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        going.iter().filter(|(other, _)| other == part).map(|(_, since)| *since).min()
    }

    fn begin(&self, part: PathBuf, since: SystemTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((part, since));
    }

    fn end(&self, part: &Path, since: SystemTime) {
        let mut going = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = going.iter().position(|call| (call.0.as_path(), call.1) == (part, since)) {
            going.swap_remove(at);
        }
    }
}

impl Drop for Around<'_> {
    fn drop(&mut self) {
        if let (Some(place), Some(since)) = (&self.place, self.checked) {
            self.going.end(&place.folder.join(&place.part), since);
        }
    }
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.reused.extend(other.reused);
        self.compiled.extend(other.compiled);
    }

    pub(super) fn words(&self) -> Option<String> {
        let (reused, compiled) = (self.reused.len(), self.compiled.difference(&self.reused).count());
        match (reused, compiled) {
            (0, 0) => None,
            (0, compiled) => Some(format!("{compiled} compiled")),
            (reused, compiled) => Some(format!("{reused} reused, {compiled} compiled")),
        }
    }
}

impl<'a> Around<'a> {
    /// `None` if kept units are of no use to the call.
    pub(super) fn new(
        tool: &dyn CalledProgram,
        invocation: &Invocation,
        process: &'a Process,
        host: &'a Host<'a>,
        going: &'a Going,
    ) -> Option<Self> {
        let call = process.visit(|| tool.called(invocation)).ok()??;
        let (planted, fitting, local) = (Vec::new(), Vec::new(), BTreeSet::new());
        let (place, downloads) = (None, None);
        Some(Self { call, process, host, going, place, downloads, planted, fitting, local, checked: None })
    }

    pub(super) fn question(&self) -> Question {
        self.call.question()
    }

    pub(super) fn jobs_variable(&self) -> Option<&'static str> {
        self.call.jobs_variable()
    }

    /// Puts back what is missing and takes out what does not fit. Returns whether there is something to be done after the
    /// call.
    pub(super) fn before(&mut self, answer: &[u8]) -> bool {
        let call = &mut self.call;
        let Ok(Some(place)) = self.process.visit(|| call.answered(answer)) else { return false };
        if let Err(trouble) = self.put_downloads_back() {
            self.complain(&format!("downloads are not reused: {trouble}"));
        }
        let done = self.prepare(&place);
        if let Some(checked) = self.checked {
            self.going.begin(place.folder.join(&place.part), checked);
        }
        self.place = Some(place);
        match done {
            Ok(()) => true,
            Err(trouble) => {
                self.complain(&format!("compiled packages are not reused: {trouble}"));
                false
            }
        }
    }

    /// Keeps what is new.
    pub(super) fn after(mut self) -> Counts {
        if let Some(Err(trouble)) = self.downloads.as_ref().map(|downloads| downloads.after(&*self.call)) {
            self.complain(&format!("downloads are not kept: {trouble}"));
        }
        match self.keep() {
            Ok(counts) => counts,
            Err(trouble) => {
                self.complain(&format!("what was compiled is not kept: {trouble}"));
                Counts::default()
            }
        }
    }

    fn put_downloads_back(&mut self) -> Result<(), Trouble> {
        if let Some(place) = self.call.download_place() {
            let downloads = self.downloads.insert(Downloads::new(place, self.process, self.host)?);
            downloads.before(&*self.call)?;
        }
        Ok(())
    }

    fn prepare(&mut self, place: &CallPlace) -> Result<(), Trouble> {
        let store = self.host.store;
        self.fitting = self.choose(&place.realm)?;
        let started = SystemTime::now();
        let (target, _locks) = match self.open(place, !self.fitting.is_empty(), Moment::Before)? {
            Opened::Busy => return Ok(()),
            Opened::Missing => {
                self.checked = Some(started);
                return Ok(());
            }
            Opened::Locked(target, locks) => (target, locks),
        };
        // A call that is not over and started this one may have made units that nobody has noted yet.
        let since = self.going.since(&place.folder.join(&place.part));
        self.take_out_what_does_not_fit(&target, since)?;
        self.checked = Some(started);
        if self.fitting.is_empty() {
            return Ok(());
        }
        let lying = store.planted(&self.fitting, &target)?;
        let call = &self.call;
        let wanted = self.process.visit(|| call.without_disturbing(&lying))??;
        if (self.host.is_over)() {
            return Ok(());
        }
        let planted = store.plant(&wanted, &target)?;
        store.use_units(&[&planted.planted[..], &planted.there].concat());
        self.planted = planted.planted;
        Ok(())
    }

    /// The units that fit, all of them in the store.
    fn choose(&mut self, realm: &ContentDigest) -> Result<Vec<ContentDigest>, Trouble> {
        let (call, process) = (&mut self.call, self.process);
        let choose = |offered| Ok(process.visit(|| call.choose(offered))?);
        self.host.asked.choose(realm, self.host.store, choose, |id| *id)
    }

    /// What has no note fits if it was made since a call began that checked everything.
    fn take_out_what_does_not_fit(
        &mut self,
        target: &UnitsFolder,
        since: Option<SystemTime>,
    ) -> Result<(), Trouble> {
        let call = &self.call;
        let store = self.host.store;
        for unit in self.process.visit(|| call.local(since))?? {
            let key = note(&unit.key);
            match (store.get(Bucket::Plan, &key)?, unit.sources) {
                (Some(known), Some(sources)) if known == sources.as_bytes() => {}
                (None, Some(sources)) if since.is_some() => {
                    store.put(Bucket::Plan, &key, sources.as_bytes().to_vec())?;
                }
                _ => {
                    store.clear(target, &unit.proof)?;
                    continue;
                }
            }
            self.local.insert(unit.key);
        }
        Ok(())
    }

    fn keep(&mut self) -> Result<Counts, Trouble> {
        let mut counts = Counts::default();
        let Some(place) = self.place.clone() else { return Ok(counts) };
        let store = self.host.store;
        let Opened::Locked(target, _locks) = self.open(&place, false, Moment::After)? else {
            return Ok(counts);
        };
        // What the folder did not have before the call, the call has made.
        let since = self.checked;
        let call = &mut self.call;
        for unit in self.process.visit(|| call.local(since))?? {
            if self.local.contains(&unit.key) {
                continue;
            }
            counts.compiled.insert(unit.package);
            // Other sources may have made the same: those that it was made from last are those to compare.
            if let Some(sources) = unit.sources.filter(|_| since.is_some()) {
                store.put(Bucket::Plan, &note(&unit.key), sources.as_bytes().to_vec())?;
            }
        }
        let call = &self.call;
        let planted = &self.planted;
        let unused = self.process.visit(|| call.unused(planted))??;
        store.uproot(&unused, &target)?;
        let lying: BTreeSet<ContentDigest> = store.planted(&self.fitting, &target)?.into_iter().collect();
        let rows = store.units(&place.realm)?.into_iter().filter(|row| lying.contains(&row.id));
        let mut kept = Vec::new();
        for row in rows {
            if self.planted.contains(&row.id) {
                counts.reused.insert(row.package);
            }
            kept.push(OfferedUnit { id: row.id, record: row.record, origin: None });
        }
        let call = &mut self.call;
        let harvested = self.process.visit(|| call.harvest(&kept))??;
        counts.compiled.extend(self.process.visit(|| made_since(since, &place, &harvested))?);
        let used = kept.iter().map(|unit| unit.id).chain(harvested.iter().map(|unit| unit.id));
        self.host.asked.used(place.realm, used);
        keep_harvested(store, (place.realm, &place.workspace), harvested, &target)?;
        Ok(counts)
    }

    /// Opens and locks the folder; makes it if it is missing and `make` says so.
    fn open(&self, place: &CallPlace, make: bool, moment: Moment) -> io::Result<Opened> {
        let owner = self.host.gives_away.then_some((self.process.uid, self.process.gid));
        let has_to_stop = |waited| {
            let is_enough = moment == Moment::After && waited > PATIENCE;
            is_enough || moment == Moment::Before && ((self.host.is_over)() || self.process.has_ended())
        };
        self.process.visit(|| {
            let Some(folder) = make_and_open(place, owner, make)? else { return Ok(Opened::Missing) };
            let part = place.folder.join(&place.part);
            let locks = take_locks(&part, place.locks, &has_to_stop, &|path| give(path, owner))?;
            let target = UnitsFolder::confined(folder, owner, &place.folder);
            Ok(locks.map_or(Opened::Busy, |locks| Opened::Locked(target, locks)))
        })?
    }

    /// Of a build that is stopped, not all is there any more, and nobody asks why.
    fn complain(&self, message: &str) {
        if (self.host.is_over)() {
            return;
        }
        self.host.events.emit(BuildEvent::Warning { message: message.to_owned(), hint: None });
    }
}

/// The packages of those units that were made since then, and did not lie there before.
fn made_since(since: Option<SystemTime>, place: &CallPlace, units: &[HarvestedUnit]) -> Vec<String> {
    let is_new = |file: &UnitFile| {
        let metadata = fs::symlink_metadata(place.folder.join(&file.path));
        metadata
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| since.is_none_or(|since| time >= since))
    };
    let new = units.iter().filter(|unit| unit.files.iter().any(is_new));
    new.map(|unit| unit.package.clone()).collect()
}

fn note(unit: &ContentDigest) -> Vec<u8> {
    format!("local unit {unit}").into_bytes()
}

/// Opens the folder, as the calling thread sees it.
fn make_and_open(place: &CallPlace, owner: Option<(u32, u32)>, make: bool) -> io::Result<Option<OwnedFd>> {
    let part = place.folder.join(&place.part);
    if make {
        let is_new = !place.folder.exists();
        make_folders(&part, owner)?;
        if is_new {
            let (name, text) = place.mark;
            let path = place.folder.join(name);
            File::create_new(&path)?.write_all(text.as_bytes())?;
            give(&path, owner)?;
        }
    } else if !part.is_dir() {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Some(rustix::fs::open(&place.folder, flags, Mode::empty())?))
}

pub(super) fn make_folders(folder: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folders(above, owner)?;
    }
    fs::create_dir(folder)?;
    give(folder, owner)
}

pub(super) fn give(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    owner.map_or(Ok(()), |(uid, gid)| lchown(path, Some(uid), Some(gid)))
}
