//! Logging as every RustCare service does it: to standard error, filtered, as text or as JSON lines.
//!
//! Whether colours are wanted the program says; this crate looks at no terminal and no variable. Fails only at start,
//! with [`TelemetryError`].

use std::io;

use rustcare_config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is no list of levels.
    #[error("can't read the log filter `{filter}`")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else collects this process's events already.
    #[error("can't start logging a second time")]
    Started(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends the process's events to standard error from now on; `colour` applies to [`LogFormat::Text`] only.
///
/// Errors: [`TelemetryError::Filter`] for a malformed filter, [`TelemetryError::Started`] on the second call.
pub fn start(config: &LogConfig, colour: bool) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(&config.filter)
        .map_err(|source| TelemetryError::Filter { filter: config.filter.clone(), source })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.format {
        LogFormat::Text => subscriber.with_ansi(colour).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_filters_are_named() {
        let config = LogConfig { filter: "info,=,x=loud".to_owned(), format: LogFormat::Text };
        assert!(start(&config, false).unwrap_err().to_string().contains("x=loud"));
    }
}
