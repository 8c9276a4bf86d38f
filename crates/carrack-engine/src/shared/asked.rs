//! What one build asks shared caches about units, and what it will publish there.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use carrack_base::{ContentDigest, EventSink};
use carrack_graph::OfferedUnit;
use carrack_store::{Store, StoreError};

use super::{Offers, SharedCaches};

/// Shared caches, asked once about each realm.
pub(crate) struct AskedCaches<'a> {
    caches: &'a SharedCaches,
    events: &'a dyn EventSink,
    offers: Mutex<HashMap<ContentDigest, Arc<Offers>>>,
    used: Mutex<HashMap<ContentDigest, HashSet<ContentDigest>>>,
}

impl<'a> AskedCaches<'a> {
    pub(crate) fn new(caches: &'a SharedCaches, events: &'a dyn EventSink) -> Self {
        Self { caches, events, offers: Mutex::default(), used: Mutex::default() }
    }

    /// The units that the caches have for `realm`.
    pub(crate) fn offered(&self, realm: &ContentDigest) -> Vec<OfferedUnit> {
        if self.caches.from.is_empty() { Vec::new() } else { self.offers(realm).offered(self.caches) }
    }

    /// Brings units that were offered into the store. Returns those that could not be had.
    ///
    /// Errors: the store's own.
    pub(crate) fn bring(
        &self,
        realm: &ContentDigest,
        wanted: &[ContentDigest],
        store: &Store,
    ) -> Result<Vec<ContentDigest>, StoreError> {
        self.caches.bring(&self.offers(realm), wanted, store, self.events)
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
