use std::fs;
use std::path::{Path, PathBuf};

use crate::Guarded;
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

/// Debian's registry of container images, running on a free port of the loopback; ended when dropped, or with the test
/// process.
pub struct ContainerRegistry {
    address: String,
    server: Guarded,
}

impl ContainerRegistry {
    /// Starts one without content. `None` where `docker-registry` is not installed.
    pub fn start(setup: &RegistrySetup) -> Option<Self> {
        let program = find_program("docker-registry")?;
        let folder = Guarded::new_folder();
        let address = format!("127.0.0.1:{}", free_port());
        let mut http = format!("http:\n  addr: {address}\n");
        let mut guard = String::new();
        match setup {
            RegistrySetup::Open => {}
            RegistrySetup::Password => {
                let users = folder.join("users");
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
        let data = folder.join("data");
        let configuration = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    \
             enabled: true\n{http}{guard}",
            data.display()
        );
        let path = folder.join("registry.yml");
        write(&path, &configuration);
        let server = Guarded::start(&program, &["serve".as_ref(), path.as_os_str()], folder);
        let registry = Self { address, server };
        // One that speaks TLS answers plain HTTP, too: with 400.
        ask_until_it_answers(&registry.address, "GET /v2/");
        Some(registry)
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A folder that is removed when the registry ends.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// The folder of its data: `docker/registry/v2/…`.
    pub fn data(&self) -> PathBuf {
        self.server.folder().join("data")
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
