use std::collections::BTreeMap;
use std::path::PathBuf;

use carrack_base::Platform;

/// One image to make from a Dockerfile.
///
/// Texts that are not explained here are docker's own: they are handed to the client as they are. None of them may hold
/// a secret, except the values of [`BuildArgument::Value`], which travel through the client's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerBuild {
    /// What people call it: the service. Names are unique within one run.
    pub name: String,
    /// What `COPY` and `ADD` see.
    pub context: Context,
    /// What is done.
    pub dockerfile: Dockerfile,
    /// The stage to build; the last one if none is named.
    pub target: Option<String>,
    /// Names of the image, with tags.
    pub tags: Vec<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Values of `ARG`s.
    pub arguments: BTreeMap<String, BuildArgument>,
    /// `id=…,src=…` or `id=…,env=…`: where a secret is, never what it is.
    pub secrets: Vec<String>,
    /// `default`, or `ID=SOCKET`.
    pub ssh: Vec<String>,
    /// Where to look for steps that are done already: an image, or `type=registry,ref=…`.
    pub cache_from: Vec<String>,
    /// Where to put what was done, `type=registry,ref=…,mode=max`.
    pub cache_to: Vec<String>,
    /// Platforms of the image; the builder's own if there is none.
    pub platforms: Vec<Platform>,
    /// Whether every step runs.
    pub no_cache: bool,
    /// Whether base images are asked for again.
    pub pull: bool,
    /// The network of `RUN`: `default`, `none`, `host`.
    pub network: Option<String>,
    /// `NAME:ADDRESS` for `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// `nofile=1024:2048`.
    pub ulimits: Vec<String>,
    /// Further contexts by name: a folder, an URL, `docker-image://…`.
    pub contexts: BTreeMap<String, String>,
    /// What the builder may do more than usual: `security.insecure`, `network.host`.
    pub allow: Vec<String>,
    /// Where the result goes; nowhere but into the builder's cache if there is none.
    pub outputs: Vec<Output>,
}

/// What `COPY` and `ADD` see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A folder.
    Folder(PathBuf),
    /// A repository or archive that the builder fetches.
    Url(String),
}

impl Default for Context {
    fn default() -> Self {
        Self::Folder(PathBuf::from("."))
    }
}

/// Where the instructions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dockerfile {
    /// A file: a path on this machine, or within a context that the builder fetches.
    File(PathBuf),
    /// A text that is on no disk.
    Text {
        /// The instructions.
        text: String,
        /// What of the context to leave out; the context's own `.dockerignore` counts if it is `None`.
        ignore: Option<String>,
    },
}

impl Default for Dockerfile {
    fn default() -> Self {
        Self::File(PathBuf::from("Dockerfile"))
    }
}

/// The value of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildArgument {
    /// This text.
    Value(String),
    /// What the client finds in its environment under the same name; the Dockerfile's default if it finds nothing.
    FromEnvironment,
}

/// Where an image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Into Docker, whichever builder made it.
    Load,
    /// To the registry that its names say.
    Push,
    /// An archive for `docker load`.
    DockerArchive(To),
    /// An OCI layout as an archive.
    OciArchive(To),
    /// An OCI layout as a folder.
    OciFolder(PathBuf),
    /// The root file system as an archive.
    Tar(To),
    /// The root file system as a folder.
    Folder(PathBuf),
}

/// Where a file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// To this path.
    File(PathBuf),
    /// To this process's standard output.
    Stdout,
}

impl Output {
    /// Whether an image is somewhere afterwards, and not just its files.
    pub(crate) fn is_image(&self) -> bool {
        !matches!(self, Self::Tar(_) | Self::Folder(_))
    }

    /// Whether standard output is taken.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Self::DockerArchive(To::Stdout) | Self::OciArchive(To::Stdout) | Self::Tar(To::Stdout))
    }
}
