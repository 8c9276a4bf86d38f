//! The index: small values by key, the images, and the units. One SQLite file, shared by all processes through its write-ahead log.
//!
//! Owns the schema, but for the tables of units. Does not know what a value means or whether the blobs that it names exist.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carrack_base::Digest;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use crate::{Store, StoreError, units};

pub(crate) const FILE: &str = "index.db";
const SCHEMA_VERSION: i64 = 2;
/// `used_at` stands before `value`, so that looking for old rows reads no values.
const SCHEMA: &str = "
    CREATE TABLE entry (
        bucket INTEGER NOT NULL,
        key BLOB NOT NULL,
        used_at INTEGER NOT NULL,
        value BLOB NOT NULL,
        UNIQUE (bucket, key)
    ) STRICT;
    CREATE TABLE image (
        name TEXT PRIMARY KEY NOT NULL,
        manifest TEXT NOT NULL,
        size INTEGER NOT NULL,
        created_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";
/// Another process's batch takes milliseconds; this is for a machine that swaps.
const PATIENCE: Duration = Duration::from_secs(30);
/// How exact `used_at` is: a read writes at most this often, in seconds.
pub(crate) const USED_AT_STEP: i64 = 24 * 60 * 60;

/// What a value in the index is about. The numbers are written to disk: they are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// What cargo said about a workspace, by the digest of the manifests and settings that it read.
    Plan = 1,
    /// What a toolchain is (version, sysroot, host), by the stat of its executables.
    Toolchain = 2,
    /// What a step produced, by the step's key.
    Step = 3,
    /// The record that a key is the digest of, by the key.
    Record = 4,
    /// The key that a step had the last time, by the step's name in its workspace; what a rebuild is explained with.
    Latest = 5,
    /// When the store was looked after last, by what was done.
    Upkeep = 6,
    /// What is known about a snapshot, by its digest.
    Snapshot = 7,
    /// The snapshot that a layer of an image is, by the digest of its uncompressed bytes.
    Layer = 8,
    /// The manifest that an image's name stood for when it was last asked for, as text, by name and platform.
    Image = 9,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// Seconds since the epoch at which it was used last, exact to a day.
    pub used_at: i64,
}

/// An image that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRow {
    /// The full reference (`docker.io/library/server:latest`).
    pub name: String,
    /// Digest of its manifest, a blob of the store.
    pub manifest: Digest,
    /// Compressed size of its layers in bytes.
    pub size: u64,
    /// Seconds since the epoch, UTC.
    pub created_at: i64,
}

/// Changes to the index that are made together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Put { bucket: Bucket, key: Vec<u8>, value: Vec<u8> },
    Delete { bucket: Bucket, key: Vec<u8> },
    Tag(ImageRow),
    Untag { name: String },
}

/// The open index file.
#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Batch {
    /// Sets the value of `key`.
    pub fn put(&mut self, bucket: Bucket, key: &[u8], value: impl Into<Vec<u8>>) {
        self.changes.push(Change::Put { bucket, key: key.to_vec(), value: value.into() });
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, bucket: Bucket, key: &[u8]) {
        self.changes.push(Change::Delete { bucket, key: key.to_vec() });
    }

    /// Gives an image its name, taking it from the image that had it.
    pub fn tag_image(&mut self, image: ImageRow) {
        self.changes.push(Change::Tag(image));
    }

    /// Takes a name away, if it is there.
    pub fn untag(&mut self, name: &str) {
        self.changes.push(Change::Untag { name: name.to_owned() });
    }
}

/// The index. Every method fails with [`StoreError::Index`], [`StoreError::DamagedIndex`], [`StoreError::ReadOnly`] or
/// [`StoreError::DiskFull`].
impl Store {
    /// The value of `key`, if there is one. Notes, once a day at most, that it was used.
    pub fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let index = &self.index;
        let connection = index.lock();
        let row: Option<(Vec<u8>, i64)> = connection
            .prepare_cached("SELECT value, used_at FROM entry WHERE bucket = ?1 AND key = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![bucket as i64, key], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(index.error("look up a key"))?;
        let Some((value, used_at)) = row else { return Ok(None) };
        let now = clock();
        if used_at < now - USED_AT_STEP {
            // Whether it succeeds matters to the next collection only, and not much to that.
            let _ = connection.execute(
                "UPDATE entry SET used_at = ?3 WHERE bucket = ?1 AND key = ?2",
                params![bucket as i64, key, now],
            );
        }
        Ok(Some(value))
    }

    /// Sets the value of `key`.
    pub fn put(&self, bucket: Bucket, key: &[u8], value: impl Into<Vec<u8>>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.put(bucket, key, value);
        self.commit(batch)
    }

    /// Removes `key`, if it is there.
    pub fn delete(&self, bucket: Bucket, key: &[u8]) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.delete(bucket, key);
        self.commit(batch)
    }

    /// Makes all changes of `batch`, in its order, or none.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let now = clock();
        let index = &self.index;
        let mut connection = index.lock();
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for change in &batch.changes {
                change.apply(&transaction, now)?;
            }
            transaction.commit()
        };
        write(&mut connection).map_err(index.error("commit"))
    }

    /// Forgets the values that nobody read or wrote since `moment` (seconds since the epoch, exact to a day). Returns how
    /// many.
    pub fn forget_unused(&self, moment: i64) -> Result<usize, StoreError> {
        let index = &self.index;
        index
            .lock()
            .execute("DELETE FROM entry WHERE used_at < ?1", params![moment])
            .map_err(index.error("forget unused keys"))
    }

    /// Every key of a bucket with its value.
    pub fn entries(&self, bucket: Bucket) -> Result<Vec<EntryRow>, StoreError> {
        let index = &self.index;
        let read = |connection: &Connection| {
            let mut statement =
                connection.prepare_cached("SELECT key, value, used_at FROM entry WHERE bucket = ?1")?;
            let rows = statement.query_map(params![bucket as i64], |row| {
                Ok(EntryRow { key: row.get(0)?, value: row.get(1)?, used_at: row.get(2)? })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read(&index.lock()).map_err(index.error("list keys"))
    }

    /// The manifests of images elsewhere whose names were asked for.
    pub(crate) fn named_manifests(&self) -> Result<Vec<Digest>, StoreError> {
        let values = self.entries(Bucket::Image)?;
        Ok(values.iter().filter_map(|entry| std::str::from_utf8(&entry.value).ok()?.parse().ok()).collect())
    }

    /// Gives the image with this manifest the name `name`, taking it from the image that had it.
    ///
    /// `size` is the compressed size of the layers in bytes, `created_at` seconds since the epoch.
    pub fn tag_image(
        &self,
        name: &str,
        manifest: &Digest,
        size: u64,
        created_at: i64,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        batch.tag_image(ImageRow { name: name.to_owned(), manifest: *manifest, size, created_at });
        self.commit(batch)
    }

    /// Takes a name away. Returns whether it was there. The image's blobs stay until the next [`Store::collect`].
    pub fn untag(&self, name: &str) -> Result<bool, StoreError> {
        let index = &self.index;
        let removed = index
            .lock()
            .execute("DELETE FROM image WHERE name = ?1", params![name])
            .map_err(index.error("remove an image"))?;
        Ok(removed > 0)
    }

    /// All images, sorted by name.
    pub fn images(&self) -> Result<Vec<ImageRow>, StoreError> {
        self.select_images("", "")
    }

    /// The image of this name, if there is one.
    pub fn image(&self, name: &str) -> Result<Option<ImageRow>, StoreError> {
        Ok(self.select_images("WHERE name = ?1", name)?.pop())
    }

    fn select_images(&self, condition: &str, parameter: &str) -> Result<Vec<ImageRow>, StoreError> {
        let index = &self.index;
        let connection = index.lock();
        let select = || -> rusqlite::Result<Vec<ImageRow>> {
            let query =
                format!("SELECT name, manifest, size, created_at FROM image {condition} ORDER BY name");
            let mut statement = connection.prepare_cached(&query)?;
            let parameters = [parameter];
            let used = &parameters[..statement.parameter_count()];
            statement.query_map(rusqlite::params_from_iter(used), image_row)?.collect()
        };
        select().map_err(index.error("look up images"))
    }
}

impl Change {
    fn apply(&self, connection: &Connection, now: i64) -> rusqlite::Result<()> {
        match self {
            Self::Put { bucket, key, value } => connection
                .prepare_cached(
                    "INSERT INTO entry (bucket, key, used_at, value) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET used_at = excluded.used_at, value = excluded.value",
                )?
                .execute(params![*bucket as i64, key, now, value])?,
            Self::Delete { bucket, key } => connection
                .execute("DELETE FROM entry WHERE bucket = ?1 AND key = ?2", params![*bucket as i64, key])?,
            Self::Tag(image) => connection.execute(
                "INSERT OR REPLACE INTO image (name, manifest, size, created_at) VALUES (?1, ?2, ?3, ?4)",
                params![image.name, image.manifest.to_string(), image.size.cast_signed(), image.created_at],
            )?,
            Self::Untag { name } => connection.execute("DELETE FROM image WHERE name = ?1", params![name])?,
        };
        Ok(())
    }
}

impl Index {
    /// Opens the index of the store at `root`.
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(FILE);
        let mut connection = connect(&path, false).map_err(|error| match error.sqlite_error_code() {
            // SQLite does not say why; the file system does.
            Some(rusqlite::ErrorCode::CannotOpen) => {
                match fs::File::options().read(true).write(true).open(&path) {
                    Err(source) => StoreError::io("open", &path)(source),
                    Ok(_) => StoreError::index("open", &path)(error),
                }
            }
            _ => StoreError::index("open", &path)(error),
        })?;
        if connection.is_readonly("main").map_err(StoreError::index("open", &path))? {
            return Err(StoreError::ReadOnly { path });
        }
        let version = version(&connection).map_err(StoreError::index("read the version", &path))?;
        match version {
            SCHEMA_VERSION => {}
            1 => migrate(&mut connection).map_err(StoreError::index("add the tables of units", &path))?,
            newer if newer > SCHEMA_VERSION => {
                let (found, known) = (newer.cast_unsigned(), SCHEMA_VERSION.cast_unsigned());
                return Err(StoreError::NewerFormat { path, found, known });
            }
            _ => return Err(StoreError::DamagedIndex { path, source: None }),
        }
        Ok(Self { path, connection: Mutex::new(connection) })
    }

    /// Makes an empty index where there is none. The exclusive lock must be held.
    ///
    /// It is made aside: a new file that several processes open at once can refuse the change to a write-ahead log.
    pub(crate) fn create(root: &Path) -> Result<(), StoreError> {
        let path = root.join(FILE);
        let new = root.join("index.db.new");
        // A log that was left behind by an index that someone deleted would be replayed into the new one.
        let leftovers =
            ["index.db-wal", "index.db-shm", "index.db.new", "index.db.new-wal", "index.db.new-shm"];
        for leftover in leftovers.map(|name| root.join(name)) {
            match fs::remove_file(&leftover) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", &leftover)(error));
                }
                _ => {}
            }
        }
        connect(&new, true)
            .and_then(|connection| {
                connection.pragma_update(None, "journal_mode", "WAL")?;
                connection.execute_batch(SCHEMA)?;
                add_units(&connection)?;
                connection.close().map_err(|(_, error)| error)
            })
            .map_err(StoreError::index("create the tables", &new))?;
        fs::rename(&new, &path).map_err(StoreError::io("create", &path))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic between two statements leaves no open transaction: its guard rolled it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn error(&self, attempt: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        StoreError::index(attempt, &self.path)
    }
}

fn connect(path: &Path, create: bool) -> rusqlite::Result<Connection> {
    // Our own lock serialises the threads.
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

/// Brings an index of schema 1 to this version, unless another process is faster. Its rows stay.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version(&transaction)? == 1 {
        add_units(&transaction)?;
    }
    transaction.commit()
}

/// What schema 2 has besides that of schema 1.
fn add_units(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(units::SCHEMA)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn image_row(row: &Row<'_>) -> rusqlite::Result<ImageRow> {
    let manifest: String = row.get(1)?;
    let manifest = manifest.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let size: i64 = row.get(2)?;
    Ok(ImageRow { name: row.get(0)?, manifest, size: size.cast_unsigned(), created_at: row.get(3)? })
}

/// Seconds since the epoch; 0 if the clock stands before it.
pub(crate) fn clock() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}
