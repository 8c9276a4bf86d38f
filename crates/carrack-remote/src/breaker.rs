//! Remembers that a remote failed, for all clones of it.

use std::error::Error;
use std::sync::{Mutex, PoisonError};

use crate::error::{Operation, Reach, RemoteError};

/// Which directions are off, and since which failure.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reading: Option<String>,
    writing: Option<String>,
}

impl Breaker {
    /// Errors: [`RemoteError::Off`] if an earlier failure reaches `operation`.
    pub(crate) fn check(&self, remote: &str, operation: Operation) -> Result<(), RemoteError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match operation {
            Operation::Publish | Operation::Remove => &state.writing,
            _ => &state.reading,
        };
        match since {
            None => Ok(()),
            Some(since) => Err(RemoteError::Off { remote: remote.to_owned(), since: since.clone() }),
        }
    }

    /// Turns off what `error` reaches. The first failure's words stay.
    pub(crate) fn trip(&self, reach: Reach, error: &dyn Error) {
        let mut words = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            words.push_str(": ");
            words.push_str(&error.to_string());
            source = error.source();
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if reach == Reach::Everything {
            state.reading.get_or_insert_with(|| words.clone());
        }
        if reach != Reach::Nothing {
            state.writing.get_or_insert(words);
        }
    }
}
