//! The rows about units.

use carrack_base::{ContentDigest, UnitFile};
use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};

use super::NewUnit;
use crate::index::{USED_AT_STEP, clock};
use crate::{Store, StoreError};

/// `record` and `files` stand last, so that looking for old rows reads neither.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE unit (
        id BLOB PRIMARY KEY NOT NULL,
        realm BLOB NOT NULL,
        used_at INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        size INTEGER NOT NULL,
        boot TEXT,
        package TEXT NOT NULL,
        workspace TEXT NOT NULL,
        needs BLOB NOT NULL,
        record BLOB NOT NULL,
        files BLOB NOT NULL
    ) STRICT;
    CREATE INDEX unit_by_realm ON unit (realm, used_at);
";

/// A unit that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRow {
    /// Its name.
    pub id: ContentDigest,
    /// What its maker wrote about it.
    pub record: Vec<u8>,
}

/// What a unit takes up, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitUse {
    /// Its name.
    pub id: ContentDigest,
    /// Package and version.
    pub package: String,
    /// The workspace that it was made for.
    pub workspace: String,
    /// The units that have to be there with it.
    pub needs: Vec<ContentDigest>,
    /// Size of its files in bytes.
    pub size: u64,
    /// Seconds since the epoch, UTC.
    pub created_at: i64,
    /// Seconds since the epoch, UTC, exact to a day.
    pub used_at: i64,
}

/// What is needed to put a unit somewhere.
pub(super) struct Stored {
    pub(super) files: Vec<UnitFile>,
    /// The boot in which it was written, if its files were not verified since.
    pub(super) boot: Option<String>,
}

/// Every method fails as those of the index do.
impl Store {
    /// Every unit of `realm`, those first that were used last.
    pub fn units(&self, realm: &ContentDigest) -> Result<Vec<UnitRow>, StoreError> {
        let index = self.index();
        let connection = index.lock();
        let read = || {
            let mut statement = connection.prepare_cached(
                "SELECT id, record FROM unit WHERE realm = ?1 ORDER BY used_at DESC, created_at DESC, rowid DESC",
            )?;
            let rows = statement.query_map(params![&realm.as_bytes()[..]], |row| {
                Ok(UnitRow { id: digest(row, 0)?, record: row.get(1)? })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(index.error("list units"))
    }

    /// What every unit takes up, those first that were used last.
    pub fn unit_usage(&self) -> Result<Vec<UnitUse>, StoreError> {
        let index = self.index();
        let connection = index.lock();
        let read = || {
            let mut statement = connection.prepare_cached(
                "SELECT id, package, workspace, needs, size, created_at, used_at FROM unit
                 ORDER BY used_at DESC, created_at DESC, rowid DESC",
            )?;
            let rows = statement.query_map([], |row| {
                let needs: Vec<u8> = row.get(3)?;
                Ok(UnitUse {
                    id: digest(row, 0)?,
                    package: row.get(1)?,
                    workspace: row.get(2)?,
                    needs: needs
                        .as_chunks()
                        .0
                        .iter()
                        .map(|bytes| ContentDigest::from_bytes(*bytes))
                        .collect(),
                    size: row.get::<_, i64>(4)?.cast_unsigned(),
                    created_at: row.get(5)?,
                    used_at: row.get(6)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(index.error("list units"))
    }

    /// Size of all units together, in bytes.
    pub fn units_size(&self) -> Result<u64, StoreError> {
        let index = self.index();
        let connection = index.lock();
        let sum: rusqlite::Result<i64> =
            connection.query_row("SELECT coalesce(sum(size), 0) FROM unit", [], |row| row.get(0));
        sum.map(i64::cast_unsigned).map_err(index.error("add up units"))
    }

    /// The files of a unit, if it is kept.
    pub fn unit_files(&self, id: &ContentDigest) -> Result<Option<Vec<UnitFile>>, StoreError> {
        Ok(self.stored(id)?.map(|stored| stored.files))
    }

    /// Notes that units were used. Whether it succeeds matters to the next pruning only.
    pub fn use_units(&self, ids: &[ContentDigest]) {
        let now = clock();
        let write = || {
            let mut connection = self.index().lock();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            {
                let mut statement = transaction
                    .prepare_cached("UPDATE unit SET used_at = ?2 WHERE id = ?1 AND used_at < ?3")?;
                for id in ids {
                    statement.execute(params![&id.as_bytes()[..], now, now - USED_AT_STEP])?;
                }
            }
            transaction.commit()
        };
        let _: rusqlite::Result<()> = write();
    }

    pub(super) fn stored(&self, id: &ContentDigest) -> Result<Option<Stored>, StoreError> {
        let index = self.index();
        let connection = index.lock();
        let found: rusqlite::Result<Option<(Vec<u8>, Option<String>)>> = connection
            .prepare_cached("SELECT files, boot FROM unit WHERE id = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row(params![&id.as_bytes()[..]], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            });
        let found = found.map_err(index.error("look up a unit"))?;
        // What can't be read is of no use to anyone.
        Ok(found.and_then(|(files, boot)| Some(Stored { files: serde_json::from_slice(&files).ok()?, boot })))
    }

    pub(super) fn write_rows(&self, units: &[NewUnit], boot: Option<&str>) -> Result<(), StoreError> {
        let now = clock();
        let index = self.index();
        let write = || {
            let mut connection = index.lock();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut statement = transaction.prepare_cached(
                    "INSERT INTO unit (id, realm, used_at, created_at, size, boot, package, workspace, needs, record, files)
                     VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                     ON CONFLICT DO UPDATE SET used_at = excluded.used_at",
                )?;
                for unit in units {
                    let needs: Vec<u8> = unit.needs.iter().flat_map(|id| *id.as_bytes()).collect();
                    let files = serde_json::to_vec(&unit.files).expect("names of files are UTF-8");
                    statement.execute(params![
                        &unit.id.as_bytes()[..],
                        &unit.realm.as_bytes()[..],
                        now,
                        super::place::size(&unit.files).cast_signed(),
                        boot,
                        unit.package,
                        unit.workspace,
                        needs,
                        unit.record,
                        files,
                    ])?;
                }
            }
            transaction.commit()
        };
        write().map_err(index.error("write about units"))
    }

    /// Notes that the files of these units are on disk as they should be.
    pub(super) fn confirm_units(&self, ids: &[ContentDigest]) -> Result<(), StoreError> {
        self.change_rows(ids, "UPDATE unit SET boot = NULL WHERE id = ?1")
    }

    pub(super) fn remove_rows(&self, ids: &[ContentDigest]) -> Result<(), StoreError> {
        self.change_rows(ids, "DELETE FROM unit WHERE id = ?1")
    }

    fn change_rows(&self, ids: &[ContentDigest], sql: &str) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let index = self.index();
        let write = || {
            let mut connection = index.lock();
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for id in ids {
                transaction.prepare_cached(sql)?.execute(params![&id.as_bytes()[..]])?;
            }
            transaction.commit()
        };
        write().map_err(index.error("change units"))
    }
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<ContentDigest> {
    row.get(column).map(ContentDigest::from_bytes)
}
