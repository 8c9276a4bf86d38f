//! Settings: built-in defaults, then a TOML file, then variables.
//!
//! Reads one file and nothing else: the variables are handed in, and which file it is the program decides
//! ([`file_to_read`] holds the rule that all programs share). An unknown key, a wrong type or a variable that can't be
//! read is an error that names the file or the variable; nothing is silently ignored.

mod config;

pub use config::{
    Config, ConfigError, DatabaseConfig, LogConfig, LogFormat, ServerConfig, SyncConfig, file_to_read,
};
