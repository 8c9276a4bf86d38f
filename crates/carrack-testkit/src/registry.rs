use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::http::{ask_until_it_answers, free_port};
use crate::program::find_program;

/// Who may enter a registry of [`RegistrySetup::Password`].
pub const BASIC_USER: &str = "mara";
/// The password of [`BASIC_USER`].
pub const BASIC_PASSWORD: &str = "sesame";
/// The password as bcrypt has it.
const BASIC_HASH: &str = "$2y$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O";

/// How a registry guards itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrySetup {
    /// Open to everybody, over plain HTTP.
    Open,
    /// With a password, over plain HTTP.
    Password,
    /// Open to everybody, over TLS with this certificate and its key (files in PEM).
    Tls {
        /// The certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// Debian's registry of container images, running on a free port of the loopback; ended when dropped.
pub struct ContainerRegistry {
    address: String,
    process: Child,
    folder: TempDir,
}

impl ContainerRegistry {
    /// Starts one without content. `None` where `docker-registry` is not installed.
    pub fn start(setup: &RegistrySetup) -> Option<Self> {
        let program = find_program("docker-registry")?;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let address = format!("127.0.0.1:{}", free_port());
        let mut http = format!("http:\n  addr: {address}\n");
        let mut guard = String::new();
        match setup {
            RegistrySetup::Open => {}
            RegistrySetup::Password => {
                let users = folder.path().join("users");
                write(&users, &format!("{BASIC_USER}:{BASIC_HASH}\n"));
                guard = format!("auth:\n  htpasswd:\n    realm: harbour\n    path: {}\n", users.display());
            }
            RegistrySetup::Tls { certificate, key } => {
                http.push_str(&format!(
                    "  tls:\n    certificate: {}\n    key: {}\n",
                    certificate.display(),
                    key.display()
                ));
            }
        }
        let data = folder.path().join("data");
        let configuration = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    \
             enabled: true\n{http}{guard}",
            data.display()
        );
        let path = folder.path().join("registry.yml");
        write(&path, &configuration);
        // To a file: nobody would read a pipe, and it stops when that is full.
        let log = folder.path().join("log");
        let errors = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let mut command = Command::new(program);
        command.arg("serve").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let mut process = command.spawn().expect("docker-registry can be started");
        if let Ok(Some(status)) = process.try_wait() {
            panic!("docker-registry ended with {status}: {}", fs::read_to_string(&log).unwrap_or_default());
        }
        let registry = Self { address, process, folder };
        // One that speaks TLS answers plain HTTP, too: with 400.
        ask_until_it_answers(&registry.address, "GET /v2/");
        Some(registry)
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder of its data: `docker/registry/v2/…`.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for ContainerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
