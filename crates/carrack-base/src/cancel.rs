use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// Tells a running build to stop: set once by the signal handler, read by everything that waits.
///
/// Cloning shares the flag. Setting it is async-signal-safe.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicI32>);

impl Cancel {
    /// Asks for the stop; `signal` is the number of the signal that asked (SIGINT 2, SIGTERM 15). The first one wins.
    pub fn cancel(&self, signal: i32) {
        // Failing means that another signal came first.
        let _ = self.0.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The signal that asked for the stop, if one did.
    pub fn signal(&self) -> Option<i32> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Whether the build has to stop.
    pub fn is_cancelled(&self) -> bool {
        self.signal().is_some()
    }
}
