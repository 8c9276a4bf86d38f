//! The rows of units and seeds in the index.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use carrack_base::{ContentDigest, UnitContent, UnitFile};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::place::{NewUnit, UnitAge};
use super::verify::this_boot;
use crate::index::{USED_AT_STEP, clock};
use crate::{Store, StoreError};

/// `serial` is never given twice: a unit that was forgotten and kept anew has another. `needs` and `seed.units` are ids,
/// 32 bytes each, one after the other. `files` is JSON. `boot` is NULL once the files were verified after that boot.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE unit (
        serial INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE,
        realm BLOB NOT NULL,
        used_at INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        size INTEGER NOT NULL,
        age INTEGER NOT NULL,
        boot TEXT,
        package TEXT NOT NULL,
        workspace TEXT NOT NULL,
        needs BLOB NOT NULL,
        record BLOB NOT NULL,
        files BLOB NOT NULL
    ) STRICT;
    CREATE INDEX unit_realm ON unit (realm);
    CREATE TABLE seed (
        id BLOB PRIMARY KEY NOT NULL,
        used_at INTEGER NOT NULL,
        units BLOB NOT NULL
    ) STRICT;
";

/// What is known of a unit that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRow {
    /// Its id.
    pub id: ContentDigest,
    /// Its realm.
    pub realm: ContentDigest,
    /// Name and version of its package.
    pub package: String,
    /// Who made it.
    pub workspace: String,
    /// Its files' sizes together, in bytes.
    pub size: u64,
    /// The units that it was compiled against.
    pub needs: Vec<ContentDigest>,
    /// What its maker noted about it.
    pub record: Vec<u8>,
    /// How its files are dated.
    pub age: UnitAge,
    /// Seconds since the epoch, UTC.
    pub created_at: i64,
    /// Seconds since the epoch, UTC; exact to a day.
    pub used_at: i64,
}

/// What a unit costs and what it is good for: a [`UnitRow`] without what only a build needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitUsage {
    /// Its id.
    pub id: ContentDigest,
    /// Its realm.
    pub realm: ContentDigest,
    /// Name and version of its package.
    pub package: String,
    /// Who made it.
    pub workspace: String,
    /// Its files' sizes together, in bytes.
    pub size: u64,
    /// Seconds since the epoch, UTC.
    pub created_at: i64,
    /// Seconds since the epoch, UTC; exact to a day.
    pub used_at: i64,
}

/// What is needed to put a unit somewhere.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) serial: i64,
    pub(super) id: ContentDigest,
    pub(super) age: UnitAge,
    pub(super) boot: Option<String>,
    pub(super) needs: Vec<ContentDigest>,
    /// `None` if they were not asked for, or can't be understood.
    pub(super) files: Option<Vec<UnitFile>>,
}

impl Kept {
    /// Its files, if they were loaded.
    pub(super) fn files(&self) -> &[UnitFile] {
        self.files.as_deref().unwrap_or_default()
    }
}

/// A row that is to be written.
pub(super) struct NewRow<'u> {
    unit: &'u NewUnit,
    size: u64,
    files: Vec<u8>,
}

impl<'u> NewRow<'u> {
    pub(super) fn of(unit: &'u NewUnit) -> Self {
        let size = |file: &UnitFile| match file.content {
            UnitContent::File { size, .. } => size,
            UnitContent::Link { .. } | UnitContent::Folder => 0,
        };
        let files = serde_json::to_vec(&unit.files).expect("paths and digests are always JSON");
        Self { unit, size: unit.files.iter().map(size).sum(), files }
    }

    fn insert(&self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        let unit = self.unit;
        connection
            .prepare_cached(
                "INSERT INTO unit (id, realm, used_at, created_at, size, age, boot, package, workspace, needs, record,
                     files)
                 VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                unit.id.as_bytes(),
                unit.realm.as_bytes(),
                now,
                self.size.cast_signed(),
                unit.age as i64,
                this_boot(),
                unit.package,
                unit.workspace,
                join(&unit.needs),
                unit.record,
                self.files,
            ])?;
        Ok(())
    }
}

/// The rows of units. Every method fails with [`StoreError::Index`], [`StoreError::DamagedIndex`],
/// [`StoreError::ReadOnly`] or [`StoreError::DiskFull`].
impl Store {
    /// The units of a realm, the newest used first.
    pub fn units(&self, realm: &ContentDigest) -> Result<Vec<UnitRow>, StoreError> {
        let select = |connection: &Connection| -> rusqlite::Result<Vec<UnitRow>> {
            connection
                .prepare_cached(
                    "SELECT id, realm, package, workspace, size, needs, record, created_at, used_at, age
                     FROM unit WHERE realm = ?1 ORDER BY used_at DESC, serial DESC",
                )?
                .query_map([realm.as_bytes()], |row| {
                    Ok(UnitRow {
                        id: digest(row, 0)?,
                        realm: digest(row, 1)?,
                        package: row.get(2)?,
                        workspace: row.get(3)?,
                        size: row.get::<_, i64>(4)?.cast_unsigned(),
                        needs: split(&row.get::<_, Vec<u8>>(5)?),
                        record: row.get(6)?,
                        age: UnitAge::of(row.get(9)?),
                        created_at: row.get(7)?,
                        used_at: row.get(8)?,
                    })
                })?
                .collect()
        };
        select(&self.index.lock()).map_err(self.index.error("look up units"))
    }

    /// A number that grows whenever a unit of the realm is kept; 0 if there is none.
    pub fn newest_unit(&self, realm: &ContentDigest) -> Result<i64, StoreError> {
        self.index
            .lock()
            .prepare_cached("SELECT COALESCE(MAX(serial), 0) FROM unit WHERE realm = ?1")
            .and_then(|mut statement| statement.query_row([realm.as_bytes()], |row| row.get(0)))
            .map_err(self.index.error("look up units"))
    }

    /// All units, the newest used first.
    pub fn unit_usage(&self) -> Result<Vec<UnitUsage>, StoreError> {
        let select = |connection: &Connection| -> rusqlite::Result<Vec<UnitUsage>> {
            connection
                .prepare_cached(
                    "SELECT id, realm, package, workspace, size, created_at, used_at
                     FROM unit ORDER BY used_at DESC, serial DESC",
                )?
                .query_map([], |row| {
                    Ok(UnitUsage {
                        id: digest(row, 0)?,
                        realm: digest(row, 1)?,
                        package: row.get(2)?,
                        workspace: row.get(3)?,
                        size: row.get::<_, i64>(4)?.cast_unsigned(),
                        created_at: row.get(5)?,
                        used_at: row.get(6)?,
                    })
                })?
                .collect()
        };
        select(&self.index.lock()).map_err(self.index.error("look up units"))
    }

    /// The sizes of all units together, in bytes.
    pub fn units_size(&self) -> Result<u64, StoreError> {
        self.index
            .lock()
            .query_row("SELECT COALESCE(SUM(size), 0) FROM unit", [], |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
            .map_err(self.index.error("add up the sizes of units"))
    }

    /// What belongs to a unit, if it is kept. Its files are not verified.
    pub fn unit_files(&self, id: &ContentDigest) -> Result<Option<Vec<UnitFile>>, StoreError> {
        let kept = self.load_units(&[*id], true)?.pop();
        Ok(kept.and_then(|unit| unit.files))
    }

    /// Where the files of a unit are, if it is kept. They must not be modified, and may be damaged if the machine lost
    /// power; [`Store::unit_files`] says what they should be.
    pub fn unit_folder(&self, id: &ContentDigest) -> Option<PathBuf> {
        let place = self.unit_place(id);
        (place.is_dir() && !self.load_units(&[*id], false).ok()?.is_empty()).then_some(place)
    }

    /// Notes, once a day at most, that the units were used. Whether it succeeds matters only to what is pruned first.
    pub fn use_units(&self, ids: &[ContentDigest]) {
        let now = clock();
        let before = now - USED_AT_STEP;
        let note = |connection: &mut Connection| -> rusqlite::Result<()> {
            let mut idle = Vec::new();
            {
                let mut statement =
                    connection.prepare_cached("SELECT serial FROM unit WHERE id = ?1 AND used_at < ?2")?;
                for id in ids {
                    idle.extend(
                        statement
                            .query_row(params![id.as_bytes(), before], |row| row.get::<_, i64>(0))
                            .optional()?,
                    );
                }
            }
            if idle.is_empty() {
                return Ok(());
            }
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for serial in idle {
                transaction
                    .prepare_cached("UPDATE unit SET used_at = ?2 WHERE serial = ?1")?
                    .execute(params![serial, now])?;
            }
            transaction.commit()
        };
        let _ = note(&mut self.index.lock());
    }

    /// The ids of all units.
    pub(super) fn kept_units(&self) -> Result<HashSet<ContentDigest>, StoreError> {
        let select = |connection: &Connection| -> rusqlite::Result<_> {
            connection.prepare_cached("SELECT id FROM unit")?.query_map([], |row| digest(row, 0))?.collect()
        };
        select(&self.index.lock()).map_err(self.index.error("look up units"))
    }

    /// Those of the units `ids` that are kept, in this order; with their files, if these are asked for.
    pub(super) fn load_units(&self, ids: &[ContentDigest], files: bool) -> Result<Vec<Kept>, StoreError> {
        let query = match files {
            true => "SELECT serial, age, boot, needs, files FROM unit WHERE id = ?1",
            false => "SELECT serial, age, boot, needs, NULL FROM unit WHERE id = ?1",
        };
        let select = |connection: &Connection| -> rusqlite::Result<_> {
            let mut statement = connection.prepare_cached(query)?;
            let mut units = Vec::with_capacity(ids.len());
            for id in ids {
                let kept = statement.query_row([id.as_bytes()], |row| {
                    let age: i64 = row.get(1)?;
                    let files: Option<Vec<u8>> = row.get(4)?;
                    Ok(Kept {
                        serial: row.get(0)?,
                        id: *id,
                        age: UnitAge::of(age),
                        boot: row.get(2)?,
                        needs: split(&row.get::<_, Vec<u8>>(3)?),
                        files: files.and_then(|files| serde_json::from_slice(&files).ok()),
                    })
                });
                units.extend(kept.optional()?);
            }
            Ok(units)
        };
        select(&self.index.lock()).map_err(self.index.error("look up units"))
    }

    /// Gives the folders in `made`, named by their ids, their places, and writes the rows. Units that another process
    /// was faster with stay where they are. Returns how many got their place.
    pub(super) fn name_units(&self, rows: &[NewRow<'_>], made: &Path) -> Result<usize, StoreError> {
        let now = clock();
        self.change_units("keep units", |transaction| {
            let mut named = 0;
            for row in rows {
                let id = row.unit.id;
                let place = self.unit_place(&id);
                let is_kept = transaction
                    .prepare_cached("SELECT 1 FROM unit WHERE id = ?1")
                    .and_then(|mut statement| statement.exists([id.as_bytes()]))
                    .map_err(self.index.error("look up a unit"))?;
                if is_kept && place.is_dir() {
                    continue;
                }
                if is_kept {
                    transaction
                        .execute("DELETE FROM unit WHERE id = ?1", [id.as_bytes()])
                        .map_err(self.index.error("replace a unit"))?;
                }
                // Without a row, or without its folder, nobody uses what is there: it is what a crash left.
                put_aside(&place, &made.join(format!("{id}.old")))?;
                give_name(&made.join(id.to_string()), &place)?;
                row.insert(transaction, now).map_err(self.index.error("keep a unit"))?;
                named += 1;
            }
            Ok(named)
        })
    }

    /// Notes that the files of these units are as they should be, and on the disk.
    pub(super) fn note_verified(&self, serials: &[i64]) -> Result<(), StoreError> {
        self.change_units("note that units were verified", |transaction| {
            for serial in serials {
                transaction
                    .prepare_cached("UPDATE unit SET boot = NULL WHERE serial = ?1")
                    .and_then(|mut statement| statement.execute([serial]))
                    .map_err(self.index.error("note that a unit was verified"))?;
            }
            Ok(())
        })
    }

    /// The units of a seed, if it is known. Notes, once an hour at most, that it was used.
    pub(super) fn seed_units(&self, id: &ContentDigest) -> Result<Option<Vec<ContentDigest>>, StoreError> {
        const STEP: i64 = 60 * 60;
        let connection = self.index.lock();
        let row: Option<(Vec<u8>, i64)> = connection
            .query_row("SELECT units, used_at FROM seed WHERE id = ?1", [id.as_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(self.index.error("look up a seed"))?;
        let Some((units, used_at)) = row else { return Ok(None) };
        let now = clock();
        if used_at < now - STEP {
            // A seed that was pruned too early is made again.
            let _ =
                connection.execute("UPDATE seed SET used_at = ?2 WHERE id = ?1", params![id.as_bytes(), now]);
        }
        Ok(Some(split(&units)))
    }

    /// Notes what is in a seed.
    pub(super) fn note_seed(&self, id: &ContentDigest, units: &[ContentDigest]) -> Result<(), StoreError> {
        self.index
            .lock()
            .execute(
                "INSERT OR REPLACE INTO seed (id, used_at, units) VALUES (?1, ?2, ?3)",
                params![id.as_bytes(), clock(), join(units)],
            )
            .map(drop)
            .map_err(self.index.error("keep a seed"))
    }

    /// Runs `change` in a transaction that keeps all other processes from changing units and their folders' names.
    pub(super) fn change_units<T>(
        &self,
        attempt: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.index.lock();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(self.index.error(attempt))?;
        let outcome = change(&transaction)?;
        transaction.commit().map_err(self.index.error(attempt))?;
        Ok(outcome)
    }
}

/// Moves what is at `place` away, if anything is.
pub(super) fn put_aside(place: &Path, to: &Path) -> Result<(), StoreError> {
    match fs::rename(place, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io("move away", place)(error)),
        _ => Ok(()),
    }
}

/// Renames a folder to its place, whose folder may be missing.
pub(super) fn give_name(folder: &Path, place: &Path) -> Result<(), StoreError> {
    let rename = || fs::rename(folder, place);
    let above = place.parent().expect("the place of a folder is in another");
    rename()
        .or_else(|error| match error.kind() {
            ErrorKind::NotFound => fs::create_dir_all(above).and_then(|()| rename()),
            _ => Err(error),
        })
        .map_err(StoreError::io("create", place))
}

pub(super) fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<ContentDigest> {
    Ok(ContentDigest::from_bytes(row.get(column)?))
}

pub(super) fn join(ids: &[ContentDigest]) -> Vec<u8> {
    ids.iter().flat_map(|id| *id.as_bytes()).collect()
}

pub(super) fn split(ids: &[u8]) -> Vec<ContentDigest> {
    let (ids, _) = ids.as_chunks::<32>();
    ids.iter().map(|id| ContentDigest::from_bytes(*id)).collect()
}
