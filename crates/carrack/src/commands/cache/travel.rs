//! Cache mounts that go to other machines, and come from there.

use std::path::Path;

use carrack_base::{BuildEvent, Cancel, EventSink};
use carrack_engine::{SharedCaches, export_mounts, import_mounts};
use carrack_store::Store;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::progress::{Progress, View, plural};
use crate::shared::CacheChoice;
use crate::terminal::Terminal;
use crate::workspace;

/// Publishes all cache mounts.
pub(super) fn export(to: &[String], caller: &Caller, state: &Path) -> Result<String, Failure> {
    let store = Store::open(state)?;
    let shared = caches(&[], to, caller)?;
    let (view, cancel) = (view(), Cancel::default());
    let trouble = Trouble(&view, std::sync::atomic::AtomicBool::new(false));
    let count = export_mounts(&store, &shared, &trouble, &cancel)?;
    trouble.or(format!("published {count} cache {}\n", plural(count.try_into().unwrap_or(0), "mount")))
}

/// Fills those that are missing.
pub(super) fn import(from: &[String], caller: &Caller, state: &Path) -> Result<String, Failure> {
    let store = Store::open(state)?;
    let shared = caches(from, &[], caller)?;
    let (view, cancel) = (view(), Cancel::default());
    let trouble = Trouble(&view, std::sync::atomic::AtomicBool::new(false));
    let count = import_mounts(&store, &shared, &trouble, &cancel)?;
    trouble.or(format!("filled {count} cache {}\n", plural(count.try_into().unwrap_or(0), "mount")))
}

/// These caches, with the keys that the configuration around the caller trusts.
fn caches(from: &[String], to: &[String], caller: &Caller) -> Result<SharedCaches, Failure> {
    let here = |source| Failure::Io { action: "find", path: ".".into(), source };
    let named = CacheChoice::of(from, to, None, caller);
    let configuration = workspace::configuration_around(&caller.folder().map_err(here)?, &named, caller)?;
    CacheChoice::of(from, to, configuration.as_ref(), caller).open(caller)
}

fn view() -> View {
    View::new(Progress::Plain, &Terminal::of_stderr())
}

/// Trouble with a shared cache fails no build; here it is all that there is to do.
struct Trouble<'v>(&'v View, std::sync::atomic::AtomicBool);

impl Trouble<'_> {
    fn or(&self, text: String) -> Result<String, Failure> {
        match self.1.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(Failure::NotTravelled),
            false => Ok(text),
        }
    }
}

impl EventSink for Trouble<'_> {
    fn emit(&self, event: BuildEvent) {
        if matches!(event, BuildEvent::Warning { .. }) {
            self.1.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        self.0.emit(event);
    }
}
