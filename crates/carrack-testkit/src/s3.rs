use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The key of the one who may enter.
pub const S3_KEY: &str = "AKIAHARBOUR";
/// The secret of [`S3_KEY`].
pub const S3_SECRET: &str = "sesame-open-the-bucket";
/// The bucket that exists.
pub const S3_BUCKET: &str = "harbour";

/// A server of the S3 protocol on a free port of the loopback, with signatures checked; ended when dropped.
pub struct S3Server {
    address: String,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: Option<thread::JoinHandle<()>>,
}

impl S3Server {
    /// Starts one with an empty bucket.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let bucket = folder.path().join(S3_BUCKET);
        fs::create_dir(&bucket).unwrap_or_else(|error| panic!("{}: {error}", bucket.display()));
        let files = FileSystem::new(folder.path()).expect("the folder can be served");
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = mpsc::channel();
        let server = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.expect("a runtime can be made").block_on(async move {
                let mut builder = S3ServiceBuilder::new(files);
                builder.set_auth(SimpleAuth::from_single(S3_KEY, S3_SECRET));
                let service = builder.build();
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
                ready.send(listener.local_addr().expect("the listener is bound")).ok();
                let serve = async move {
                    loop {
                        let Ok((socket, _)) = listener.accept().await else { continue };
                        let service = service.clone();
                        tokio::spawn(async move {
                            let server = auto::Builder::new(TokioExecutor::new());
                            // A client that goes away is no matter.
                            let _ = server.serve_connection(TokioIo::new(socket), service).await;
                        });
                    }
                };
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv().expect("the server starts").to_string();
        Self { address, folder, stop: Some(stop), server: Some(server) }
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder with the bucket's objects.
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join(S3_BUCKET)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}
