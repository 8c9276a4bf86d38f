use std::sync::Arc;

use rustcare_api_types::PageBody;
use rustcare_storage::{Database, Page, StorageError};
use tokio::task;

use crate::error::ApiError;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// What every handler works on.
#[derive(Clone)]
pub(crate) struct App(Arc<Database>);

impl App {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self(database)
    }

    /// Runs `work` on a thread that may block.
    pub(crate) async fn with_database<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let database = Arc::clone(&self.0);
        let result = task::spawn_blocking(move || work(&database)).await;
        Ok(result.map_err(|panic| ApiError::Internal(panic.into()))??)
    }
}

/// The page behind the entry `after`, one entry longer than asked so that [`page_body`] sees whether more follow.
pub(crate) fn page(after: Option<i64>, limit: Option<u32>) -> Page {
    Page { after: after.unwrap_or(0), limit: limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT) + 1 }
}

/// The answer from the entries that `page` gave.
pub(crate) fn page_body<T, B: From<T>>(
    page: Page,
    mut entries: Vec<T>,
    id: impl Fn(&T) -> String,
) -> PageBody<B> {
    let wanted = page.limit as usize - 1;
    let more = entries.len() > wanted;
    entries.truncate(wanted);
    let next = entries.last().filter(|_| more).map(id);
    PageBody { items: entries.into_iter().map(B::from).collect(), next }
}
