//! What one build asks shared caches about units, and what it will publish there.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use carrack_base::{ContentDigest, EventSink};
use carrack_graph::OfferedUnit;
use carrack_store::{Store, StoreError};

use super::{Offers, SharedCaches};

/// Shared caches, asked once about each realm.
pub struct AskedCaches<'a> {
    caches: &'a SharedCaches,
    events: &'a dyn EventSink,
    offers: Mutex<HashMap<ContentDigest, Arc<Offers>>>,
    used: Mutex<HashMap<ContentDigest, HashSet<ContentDigest>>>,
}

impl<'a> AskedCaches<'a> {
    /// Asks these; what goes wrong is told to `events`.
    pub fn new(caches: &'a SharedCaches, events: &'a dyn EventSink) -> Self {
        Self { caches, events, offers: Mutex::default(), used: Mutex::default() }
    }

    /// The units of `realm` that `choose` takes of those in the store, which come first, and in the caches; all of them are
    /// in the store then. `choose` is asked again, with less, if one can't be had.
    ///
    /// Errors: the store's own, and those of `choose`.
    pub fn choose<T, E: From<StoreError>>(
        &self,
        realm: &ContentDigest,
        store: &Store,
        mut choose: impl FnMut(Vec<OfferedUnit>) -> Result<Vec<T>, E>,
        id: impl Fn(&T) -> ContentDigest,
    ) -> Result<Vec<T>, E> {
        let offers = if self.caches.from.is_empty() { Arc::default() } else { self.offers(realm) };
        let mut elsewhere = offers.offered(self.caches);
        loop {
            let rows = store.units(realm)?.into_iter();
            let mut offered: Vec<OfferedUnit> =
                rows.map(|row| OfferedUnit { id: row.id, record: row.record, origin: None }).collect();
            let here: HashSet<ContentDigest> = offered.iter().map(|unit| unit.id).collect();
            offered.extend(elsewhere.iter().filter(|unit| !here.contains(&unit.id)).cloned());
            let fitting = choose(offered)?;
            let wanted: Vec<ContentDigest> =
                fitting.iter().map(&id).filter(|id| !here.contains(id)).collect();
            if wanted.is_empty() {
                return Ok(fitting);
            }
            let lacking = self.caches.bring(&offers, &wanted, store, self.events)?;
            if lacking.is_empty() {
                return Ok(fitting);
            }
            elsewhere.retain(|unit| !lacking.contains(&unit.id));
        }
    }

    /// The build used or made these.
    pub(crate) fn used(&self, realm: ContentDigest, units: impl IntoIterator<Item = ContentDigest>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.entry(realm).or_default().extend(units);
    }

    /// Publishes what the build used and the caches do not have.
    ///
    /// Errors: the store's own.
    pub(crate) fn publish(&self, store: &Store) -> Result<(), StoreError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        used.iter().try_for_each(|(realm, units)| self.caches.publish_units(realm, units, store, self.events))
    }

    fn offers(&self, realm: &ContentDigest) -> Arc<Offers> {
        // Whoever asks at the same time waits for the same answer.
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = offers.entry(*realm);
        Arc::clone(known.or_insert_with(|| Arc::new(self.caches.offers(realm, self.events))))
    }
}
