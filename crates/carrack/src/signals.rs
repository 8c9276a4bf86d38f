//! Turns SIGINT and SIGTERM into a request to stop, or hands them on to a program that runs in this one's place.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use carrack_base::Cancel;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
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

/// Hands signals on to whichever program runs in this one's place.
#[derive(Clone, Default)]
pub(crate) struct Relay {
    /// Set by the first signal.
    pub(crate) cancel: Cancel,
    child: Arc<Mutex<Option<Pid>>>,
}

impl Relay {
    /// Begins to listen. While no program runs, a second signal ends the process at once: everything on disk is whole at
    /// any moment.
    ///
    /// Errors: the handlers can't be installed.
    pub(crate) fn start() -> io::Result<Self> {
        let relay = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let own = relay.clone();
        std::thread::spawn(move || {
            for signal in signals.forever() {
                own.take(signal);
            }
        });
        Ok(relay)
    }

    fn take(&self, signal: i32) {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if child.is_none() && self.cancel.is_cancelled() {
            std::process::exit(128 + signal);
        }
        self.cancel.cancel(signal);
        if let Some(child) = *child {
            // A terminal gives its SIGINT to everyone itself.
            if signal != SIGINT || !is_in_foreground() {
                hand_on(child, signal);
            }
        }
    }

    /// Waits for the end of a program, which gets the signals that come meanwhile, and the one that came before.
    pub(crate) fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let pid = Pid::from_child(child);
        {
            let mut own = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            *own = Some(pid);
            if let Some(signal) = self.cancel.signal() {
                hand_on(pid, signal);
            }
        }
        // It keeps its number until it is waited for without this option.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), ended) {}
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = None;
        child.wait()
    }
}

fn hand_on(child: Pid, signal: i32) {
    let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
    // Gone already: then there is nobody to tell.
    let _ = rustix::process::kill_process(child, signal);
}

/// Whether a terminal sends this process's group the signals of its keys.
fn is_in_foreground() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    let group = terminal.map(rustix::termios::tcgetpgrp);
    matches!(group, Ok(Ok(group)) if group == rustix::process::getpgrp())
}
