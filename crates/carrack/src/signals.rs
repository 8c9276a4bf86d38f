//! Turns SIGINT and SIGTERM into a request to stop.

use carrack_base::Cancel;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Makes `cancel` be set by the first signal. A second one ends the process at once: everything on disk is whole at
/// any moment.
///
/// Errors: the handlers can't be installed.
pub(crate) fn watch(cancel: &Cancel) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let cancel = cancel.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if cancel.is_cancelled() {
                std::process::exit(128 + signal);
            }
            cancel.cancel(signal);
        }
    });
    Ok(())
}
