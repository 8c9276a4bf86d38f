//! Numbered SQL files, applied once each and in order.
//!
//! `0001_name.sql`, `0002_name.sql`, … without gaps. The database keeps the text of what it applied: a file that was
//! edited afterwards is an error and not a silent difference between two installations. There is no way back; a
//! mistake is mended by the next migration.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::StorageError;

/// What a migration run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The migrations that were new to the database, in order.
    pub applied: Vec<String>,
    /// Number of the newest migration in the database.
    pub version: u32,
}

struct Migration {
    name: String,
    sql: String,
}

/// Brings the database to what `folder` holds, in one transaction that other processes wait for.
pub(crate) fn migrate(connection: &mut Connection, folder: &Path) -> Result<Migrated, StorageError> {
    let migrations = read(folder)?;
    let begin = |source| StorageError::Query { what: "begin to migrate", source };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(begin)?;
    transaction
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS migrations (
                 version INTEGER PRIMARY KEY, name TEXT NOT NULL, sql TEXT NOT NULL
             ) STRICT",
        )
        .map_err(begin)?;
    let present = applied(&transaction)?;
    for (index, known) in present.iter().enumerate() {
        match migrations.get(index) {
            Some(migration) if migration.name == known.name && migration.sql == known.sql => {}
            _ => return Err(StorageError::MigrationChanged { name: known.name.clone() }),
        }
    }
    let mut applied = Vec::new();
    for (migration, version) in migrations.iter().zip(1_u32..).skip(present.len()) {
        let failed = |source| StorageError::Migrate { name: migration.name.clone(), source };
        transaction.execute_batch(&migration.sql).map_err(failed)?;
        transaction
            .execute(
                "INSERT INTO migrations (version, name, sql) VALUES (?1, ?2, ?3)",
                params![version, migration.name, migration.sql],
            )
            .map_err(failed)?;
        applied.push(migration.name.clone());
    }
    let version = version(&transaction)?;
    transaction.commit().map_err(|source| StorageError::Query { what: "commit the migrations", source })?;
    Ok(Migrated { applied, version })
}

/// Number of the newest migration; 0 in a database that never saw one.
pub(crate) fn version(connection: &Connection) -> Result<u32, StorageError> {
    let query = |source| StorageError::Query { what: "read the schema version", source };
    let table: Option<i64> = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'", [], |row| {
            row.get(0)
        })
        .optional()
        .map_err(query)?;
    match table {
        None => Ok(0),
        Some(_) => connection
            .query_row("SELECT coalesce(max(version), 0) FROM migrations", [], |row| row.get(0))
            .map_err(query),
    }
}

fn applied(connection: &Connection) -> Result<Vec<Migration>, StorageError> {
    let query = |source| StorageError::Query { what: "read the applied migrations", source };
    connection
        .prepare("SELECT name, sql FROM migrations ORDER BY version")
        .and_then(|mut statement| {
            statement.query_map([], |row| Ok(Migration { name: row.get(0)?, sql: row.get(1)? }))?.collect()
        })
        .map_err(query)
}

fn read(folder: &Path) -> Result<Vec<Migration>, StorageError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StorageError::ReadMigrations { path, source }
    };
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
        })
        .map_err(failed(folder))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    paths.sort();
    let mut migrations = Vec::new();
    for (path, expected) in paths.into_iter().zip(1_u32..) {
        let name = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        let name = name
            .filter(|name| name.starts_with(&format!("{expected:04}_")))
            .ok_or_else(|| StorageError::MigrationName { path: path.clone(), expected })?;
        let sql = fs::read_to_string(&path).map_err(failed(&path))?;
        migrations.push(Migration { name, sql });
    }
    Ok(migrations)
}
