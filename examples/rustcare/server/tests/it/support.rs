//! A server of its own for each test, on a free port and a fresh database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustcare_storage::Database;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub(crate) fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

pub(crate) struct Server {
    url: String,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    pub(crate) folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("rustcare.db")).unwrap();
        database.migrate(&migrations()).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (shutdown, asked) = oneshot::channel();
        let serving = rustcare_server::serve(listener, Arc::new(database), async {
            let _ = asked.await;
        });
        let thread = thread::spawn(move || runtime.block_on(serving).unwrap());
        Self { url, shutdown: Some(shutdown), thread: Some(thread), folder }
    }

    /// Status and body of the answer; the body is null where there is none.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let answer = agent().get(format!("{}{path}", self.url)).call().unwrap();
        (answer.status().as_u16(), read(answer))
    }

    pub(crate) fn delete(&self, path: &str) -> (u16, Value) {
        let answer = agent().delete(format!("{}{path}", self.url)).call().unwrap();
        (answer.status().as_u16(), read(answer))
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let request = agent().post(format!("{}{path}", self.url)).content_type("application/json");
        let answer = request.send(body).unwrap();
        (answer.status().as_u16(), read(answer))
    }

    pub(crate) fn put(&self, path: &str, body: &str) -> (u16, Value) {
        let request = agent().put(format!("{}{path}", self.url)).content_type("application/json");
        let answer = request.send(body).unwrap();
        (answer.status().as_u16(), read(answer))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        let ended = self.thread.take().map(JoinHandle::join);
        // A second panic while a test fails would hide the first.
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))));
        }
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent()
}

fn read(answer: ureq::http::Response<ureq::Body>) -> Value {
    let text = answer.into_body().read_to_string().unwrap();
    if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
}
