//! Units in shared caches: which there are, bringing them here, publishing them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use carrack_base::{ContentDigest, Digest, EventSink, Sha256Writer, unit_id};
use carrack_graph::OfferedUnit;
use carrack_remote::pack::{PackIndex, PackedUnit, ReadOptions, read, write};
use carrack_remote::{BlobInfo, Bytes, Remote, RemoteError, Upload};
use carrack_store::{NewUnit, Store, StoreError, Taking, UnitAge, UnitRow};
use serde::{Deserialize, Serialize};

use super::{MOST_PACKS, PACKS, SharedCaches};

/// How many requests for what packs hold are under way at once.
const REQUESTS: usize = 8;

/// What a pack tells about a unit besides its files.
#[derive(Serialize, Deserialize)]
struct PackedRecord {
    package: String,
    workspace: String,
    needs: Vec<ContentDigest>,
    age: PackedAge,
    /// Its tool's, which is text.
    record: String,
}

/// How a unit's files are dated: [`UnitAge`] as it is written down.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PackedAge {
    Old,
    New,
    Ran,
}

/// The units that shared caches have for one realm.
#[derive(Default)]
pub(crate) struct Offers {
    realm: Option<ContentDigest>,
    packs: Vec<Pack>,
    /// In which pack a unit lies, and where there.
    places: HashMap<ContentDigest, (usize, usize)>,
}

struct Pack {
    cache: usize,
    blob: BlobInfo,
    index: PackIndex,
}

impl Offers {
    /// The units, each with the kind of cache that it lies in.
    pub(crate) fn offered(&self, caches: &SharedCaches) -> Vec<OfferedUnit> {
        let frames = self.packs.iter().flat_map(|pack| {
            let kind = caches.from[pack.cache].kind;
            pack.index.units.iter().map(move |frame| (kind, frame))
        });
        let offered = frames.filter_map(|(kind, frame)| {
            let packed: PackedRecord = serde_json::from_slice(&frame.record).ok()?;
            Some(OfferedUnit {
                id: frame.id,
                record: packed.record.into_bytes(),
                origin: Some(kind.to_owned()),
            })
        });
        offered.collect()
    }
}

impl SharedCaches {
    /// What there is for `realm`.
    pub(crate) fn offers(&self, realm: &ContentDigest, events: &dyn EventSink) -> Offers {
        let prefix = prefix(realm);
        let found = self.with_each(&self.from, self.patience.look, events, |cache, remote| {
            let names = newest(remote.names(&prefix)?);
            let packs = side_by_side(&names, |name| look(remote, name))?;
            let packs = packs.into_iter().flatten();
            Ok(packs.map(|(blob, index)| Pack { cache, blob, index }).collect::<Vec<_>>())
        });
        let mut offers = Offers { realm: Some(*realm), ..Offers::default() };
        for pack in found.into_iter().flatten().flatten() {
            for (place, frame) in pack.index.units.iter().enumerate() {
                offers.places.entry(frame.id).or_insert((offers.packs.len(), place));
            }
            offers.packs.push(pack);
        }
        offers
    }

    /// Brings units of `offers` into the store. Returns those that could not be had.
    ///
    /// Errors: the store's own.
    pub(crate) fn bring(
        &self,
        offers: &Offers,
        wanted: &[ContentDigest],
        store: &Store,
        events: &dyn EventSink,
    ) -> Result<Vec<ContentDigest>, StoreError> {
        let mut by_pack: HashMap<usize, HashSet<ContentDigest>> = HashMap::new();
        for id in wanted {
            if let Some((pack, _)) = offers.places.get(id) {
                by_pack.entry(*pack).or_default().insert(*id);
            }
        }
        let scratch = store.scratch()?;
        let packs: Vec<(usize, HashSet<ContentDigest>)> = by_pack.into_iter().collect();
        let deadline = Instant::now().checked_add(self.patience.fetch);
        let brought = side_by_side(&packs, |(number, wanted)| {
            let pack = &offers.packs[*number];
            let shared = &self.from[pack.cache];
            let blob = match shared.remote.with_deadline(deadline).read(&pack.blob) {
                Ok(blob) => blob,
                Err(error) => {
                    if !matches!(error, RemoteError::Off { .. }) {
                        self.complain(shared, &error, events);
                    }
                    return Ok(Vec::new());
                }
            };
            let folder = |id: &ContentDigest| scratch.path().join(format!("{number}-{id}"));
            let place = |id: &ContentDigest| fs::create_dir(folder(id)).map(|()| folder(id));
            let options = ReadOptions { threads: threads(), time: UNIX_EPOCH };
            let unpacked = read(&pack.index, blob, |id| wanted.contains(id), place, options);
            if let Some(error) = &unpacked.ended {
                self.complain(shared, error, events);
            } else if let Some(failed) = unpacked.failed.first() {
                self.complain(shared, &failed.error, events);
            }
            let mut whole = Vec::new();
            for id in unpacked.placed {
                let (_, place) = offers.places[&id];
                whole.extend(offers.unit(pack, place, folder(&id)));
            }
            Ok::<_, RemoteError>(whole)
        });
        let units: Vec<NewUnit> = brought.unwrap_or_default().into_iter().flatten().collect();
        let there: HashSet<ContentDigest> = units.iter().map(|unit| unit.id).collect();
        store.keep_units(units, Taking::Move)?;
        Ok(wanted.iter().filter(|id| !there.contains(*id)).copied().collect())
    }

    /// Publishes those of the units `used` that the caches do not have.
    ///
    /// Errors: the store's own.
    pub fn publish_units(
        &self,
        realm: &ContentDigest,
        used: &HashSet<ContentDigest>,
        store: &Store,
        events: &dyn EventSink,
    ) -> Result<(), StoreError> {
        if self.to.is_empty() || used.is_empty() {
            return Ok(());
        }
        let units = store.units(realm)?.into_iter().filter(|row| used.contains(&row.id));
        let units: Vec<UnitRow> = units.collect();
        let scratch = store.scratch()?;
        self.with_each(&self.to, self.patience.publish, events, |number, remote| {
            let names = newest(remote.names(&prefix(realm))?);
            let known: HashSet<ContentDigest> = side_by_side(&names, |name| look(remote, name))?
                .into_iter()
                .flatten()
                .flat_map(|(_, index)| index.units.into_iter().map(|frame| frame.id))
                .collect();
            // Units that change with every edit do not share a pack with those that everybody fetches.
            for local in [false, true] {
                let path = scratch.path().join(format!("{number}-{local}"));
                let is_new =
                    |unit: &&UnitRow| (unit.age != UnitAge::Old) == local && !known.contains(&unit.id);
                let packed: Vec<PackedUnit> =
                    units.iter().filter(is_new).filter_map(|unit| packed(unit, store)).collect();
                if !packed.is_empty() {
                    publish_pack(remote, realm, &packed, &path)?;
                }
            }
            // Many registries keep what was published: then it stays.
            let mut all = remote.names(&prefix(realm))?;
            all.truncate(all.len().saturating_sub(MOST_PACKS));
            for name in all {
                if remote.remove(&name).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Ok(())
    }
}

impl Offers {
    /// What the store needs to know about a unit that lies in `folder`; `None` if it is not what its id says.
    fn unit(&self, pack: &Pack, place: usize, folder: PathBuf) -> Option<NewUnit> {
        let frame = &pack.index.units[place];
        let realm = self.realm?;
        let packed: PackedRecord = serde_json::from_slice(&frame.record).ok()?;
        let record = packed.record.into_bytes();
        (unit_id(&realm, &record, &frame.files) == frame.id).then(|| NewUnit {
            id: frame.id,
            realm,
            package: packed.package,
            workspace: packed.workspace,
            record,
            files: frame.files.clone(),
            needs: packed.needs,
            age: match packed.age {
                PackedAge::Old => UnitAge::Old,
                PackedAge::New => UnitAge::New,
                PackedAge::Ran => UnitAge::Ran,
            },
            from: folder.into(),
        })
    }
}

fn prefix(realm: &ContentDigest) -> String {
    format!("units-{}-", &realm.to_string()[..16])
}

/// The newest names, newest first; the time stands in them.
fn newest(mut names: Vec<String>) -> Vec<String> {
    names.reverse();
    names.truncate(PACKS);
    names
}

/// What a pack holds; `None` if it is gone or no pack of ours.
fn look(remote: &Remote, name: &str) -> Result<Option<(BlobInfo, PackIndex)>, RemoteError> {
    let entry = match remote.find(name) {
        Ok(entry) => entry,
        // One bad pack is no reason to leave the others.
        Err(
            RemoteError::Damaged { .. } | RemoteError::Untrusted { .. } | RemoteError::MissingBlob { .. },
        ) => None,
        Err(error) => return Err(error),
    };
    let index = entry.and_then(|entry| {
        let index = PackIndex::from_bytes(&entry.head).ok()?;
        let [blob] = entry.blobs[..] else { return None };
        (blob.size == index.size()).then_some((blob, index))
    });
    Ok(index)
}

/// A unit ready to be packed; `None` if it is gone by now.
fn packed(unit: &UnitRow, store: &Store) -> Option<PackedUnit> {
    let files = store.unit_files(&unit.id).ok().flatten()?;
    let root = store.unit_folder(&unit.id)?;
    let record = PackedRecord {
        package: unit.package.clone(),
        // Where a workspace lies is nobody else's business.
        workspace: "shared".to_owned(),
        needs: unit.needs.clone(),
        age: match unit.age {
            UnitAge::Old => PackedAge::Old,
            UnitAge::New => PackedAge::New,
            UnitAge::Ran => PackedAge::Ran,
        },
        record: String::from_utf8_lossy(&unit.record).into_owned(),
    };
    let record = serde_json::to_vec(&record).expect("texts and digests can be written as JSON");
    Some(PackedUnit { id: unit.id, record, files, root })
}

fn publish_pack(
    remote: &Remote,
    realm: &ContentDigest,
    units: &[PackedUnit],
    path: &PathBuf,
) -> Result<(), RemoteError> {
    let write_pack = || -> std::io::Result<(PackIndex, Digest, u64)> {
        let mut file = Sha256Writer::new(BufWriter::new(File::create(path)?));
        let written = write(units, threads(), &mut file)?;
        file.flush()?;
        let (_, digest, size) = file.finish();
        Ok((written.index, digest, size))
    };
    let unreadable = |source| RemoteError::Source { remote: remote.name().to_owned(), source };
    let (index, digest, size) = write_pack().map_err(unreadable)?;
    if index.units.is_empty() {
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let name = format!("{}{now:010x}-{}", prefix(realm), &digest.hex()[..16]);
    let blob = BlobInfo { digest, size };
    remote.publish(&name, &index.to_bytes(), &[Upload { blob, bytes: Bytes::File(path) }])?;
    Ok(())
}

fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Calls `work` for each item, some at a time. The first failure ends it.
fn side_by_side<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<R, E>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..REQUESTS.min(items.len()) {
            scope.spawn(|| {
                while let Some((number, item)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    items.get(number).map(|item| (number, item))
                } {
                    let result = work(item);
                    if result.is_err() {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
