use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io};

use serde::Deserialize;

/// Where the images keep their settings.
const IMAGE_FILE: &str = "/app/config/default.toml";

/// The settings of every program of the workspace; each reads the tables that it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The HTTP server.
    pub server: ServerConfig,
    /// The database file.
    pub database: DatabaseConfig,
    /// What is logged.
    pub log: LogConfig,
    /// The snapshot service.
    pub sync: SyncConfig,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one. `RUSTCARE_LISTEN`.
    pub listen: SocketAddr,
}

/// `[database]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// The SQLite file. `RUSTCARE_DATABASE`.
    pub path: PathBuf,
    /// The folder of the migrations. `RUSTCARE_MIGRATIONS`.
    pub migrations: PathBuf,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Levels by target, as `tracing` writes them (`info,rustcare_server=debug`). `RUST_LOG`.
    pub filter: String,
    /// How a line looks. `RUSTCARE_LOG_FORMAT`.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[sync]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncConfig {
    /// The server's address, `http://host:port`. `RUSTCARE_SYNC_SERVER`.
    pub server: String,
    /// The folder that gets the snapshots. `RUSTCARE_SYNC_FOLDER`.
    pub folder: PathBuf,
    /// Seconds from one snapshot to the next, at least 1. `RUSTCARE_SYNC_INTERVAL_SECONDS`.
    pub interval_seconds: u32,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the settings file {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML, or holds an unknown key or a wrong type.
    #[error("can't use the settings file {path}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A variable's value is not what the setting takes.
    #[error("can't use `{value}`, the value of {name}: expected {expected}")]
    Variable {
        /// The variable's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// The snapshot service would never rest.
    #[error("can't use 0 as `sync.interval_seconds`: expected at least 1")]
    NoInterval,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 8080)) }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { path: "/data/rustcare.db".into(), migrations: "/app/migrations".into() }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            server: "http://127.0.0.1:8080".to_owned(),
            folder: "/data/export".into(),
            interval_seconds: 60,
        }
    }
}

/// The settings file of a program: the one that `RUSTCARE_CONFIG` names, else the image's if it is there.
pub fn file_to_read(variables: &BTreeMap<String, String>) -> Option<PathBuf> {
    match variables.get("RUSTCARE_CONFIG") {
        Some(named) => Some(named.into()),
        None => Some(PathBuf::from(IMAGE_FILE)).filter(|file| file.exists()),
    }
}

impl Config {
    /// Reads `file`, if there is one, and lets `variables` win over it. Other variables are ignored.
    ///
    /// Errors: as [`ConfigError`] lists them; a named file that does not exist is one.
    pub fn load(file: Option<&Path>, variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
                toml::from_str(&text).map_err(|source| ConfigError::Parse {
                    path: path.to_owned(),
                    source: Box::new(source),
                })?
            }
        };
        config.apply(variables)?;
        if config.sync.interval_seconds == 0 {
            return Err(ConfigError::NoInterval);
        }
        Ok(config)
    }

    fn apply(&mut self, variables: &BTreeMap<String, String>) -> Result<(), ConfigError> {
        set(&mut self.server.listen, variables, "RUSTCARE_LISTEN", "an address such as 0.0.0.0:8080")?;
        set(&mut self.database.path, variables, "RUSTCARE_DATABASE", "a path")?;
        set(&mut self.database.migrations, variables, "RUSTCARE_MIGRATIONS", "a path")?;
        set(&mut self.log.filter, variables, "RUST_LOG", "levels by target")?;
        set(&mut self.log.format, variables, "RUSTCARE_LOG_FORMAT", "`text` or `json`")?;
        set(
            &mut self.sync.server,
            variables,
            "RUSTCARE_SYNC_SERVER",
            "an address such as http://server:8080",
        )?;
        set(&mut self.sync.folder, variables, "RUSTCARE_SYNC_FOLDER", "a path")?;
        set(
            &mut self.sync.interval_seconds,
            variables,
            "RUSTCARE_SYNC_INTERVAL_SECONDS",
            "a number of seconds",
        )
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

fn set<T: FromStr>(
    setting: &mut T,
    variables: &BTreeMap<String, String>,
    name: &'static str,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if let Some(value) = variables.get(name) {
        *setting =
            value.parse().map_err(|_| ConfigError::Variable { name, value: value.clone(), expected })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn load(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        fs::write(&file, text).unwrap();
        Config::load(Some(&file), &variables(pairs))
    }

    #[test]
    fn variables_win_over_the_file_and_the_file_over_defaults() {
        let text = "[server]\nlisten = \"127.0.0.1:1\"\n[database]\npath = \"a.db\"\n";
        let config = load(text, &[("RUSTCARE_LISTEN", "127.0.0.1:2"), ("UNRELATED", "x")]).unwrap();
        assert_eq!(config.server.listen.port(), 2);
        assert_eq!(config.database.path, Path::new("a.db"));
        assert_eq!(config.database.migrations, Path::new("/app/migrations"));
    }

    #[test]
    fn files_of_the_workspace_are_read_without_complaint() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
        let default = Config::load(Some(&folder.join("default.toml")), &BTreeMap::new()).unwrap();
        assert_eq!(
            default,
            Config {
                log: LogConfig { format: LogFormat::Json, ..LogConfig::default() },
                ..Config::default()
            }
        );
        assert!(Config::load(Some(&folder.join("development.toml")), &BTreeMap::new()).is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = load("[server]\nlisen = \"127.0.0.1:1\"\n", &[]).unwrap_err();
        assert!(unknown.source().unwrap().to_string().contains("lisen"), "{unknown:?}");
        let variable = load("", &[("RUSTCARE_LISTEN", "everywhere")]).unwrap_err();
        assert!(variable.to_string().contains("`everywhere`, the value of RUSTCARE_LISTEN"), "{variable}");
        assert!(matches!(load("[sync]\ninterval_seconds = 0\n", &[]), Err(ConfigError::NoInterval)));
        let missing = Config::load(Some(Path::new("/nonexistent/settings.toml")), &BTreeMap::new());
        assert!(matches!(missing, Err(ConfigError::Read { .. })));
    }

    #[test]
    fn a_named_file_is_taken_even_if_it_is_not_there() {
        let file = file_to_read(&variables(&[("RUSTCARE_CONFIG", "/nonexistent.toml")]));
        assert_eq!(file.as_deref(), Some(Path::new("/nonexistent.toml")));
    }
}
