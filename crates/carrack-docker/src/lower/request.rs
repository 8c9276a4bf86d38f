use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use carrack_base::{ImagePath, Platform};
use carrack_graph::{Network, PathFilter};

/// What is asked of a Dockerfile: the options of `docker build`.
#[derive(Debug, Clone)]
pub struct Request {
    /// The stage that is wanted, by name; the last one if nothing is said.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The main context.
    pub context: Context,
    /// `--build-context`: each stands for the stage or image of its name.
    pub contexts: BTreeMap<String, Context>,
    /// `--platform`; that of the base image if nothing is said.
    pub platform: Option<Platform>,
    /// The machine that builds.
    pub build_platform: Platform,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// References that the image gets, each with a tag.
    pub tags: Vec<String>,
    /// What people call the image; its first tag or its stage if nothing is said.
    pub name: Option<String>,
    /// Whether no kept result may be used.
    pub no_cache: bool,
    /// Stages for which no kept result may be used.
    pub no_cache_filter: BTreeSet<String>,
    /// More lines of `/etc/hosts`: name and address.
    pub add_hosts: Vec<(String, String)>,
    /// What commands may reach that say nothing themselves.
    pub network: Network,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Limits by name (`nofile`): soft and hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// Seconds since the epoch at which the image says it was made. `SOURCE_DATE_EPOCH` among the build arguments counts more.
    pub source_date_epoch: Option<u64>,
    /// Programs of the image that have to find everything that they need there.
    pub programs: Vec<ImagePath>,
    /// The caller's `HTTP_PROXY`, `HTTPS_PROXY`, `FTP_PROXY`, `NO_PROXY` and `ALL_PROXY`, in whatever case. Build arguments of
    /// these names count more.
    pub proxies: BTreeMap<String, String>,
}

/// Files that are there besides the Dockerfile, or instead of an image.
#[derive(Debug, Clone)]
pub enum Context {
    /// A folder of the host.
    Folder {
        /// Where it lies.
        folder: PathBuf,
        /// What of it counts; everything if there is none.
        filter: Option<Arc<dyn PathFilter>>,
    },
    /// An image.
    Image {
        /// Its name, or `oci-layout://` and where it lies.
        reference: String,
    },
    /// A git repository.
    Git {
        /// Its address, as `ADD` takes it.
        address: String,
    },
}

impl Request {
    /// Asks for the last stage with this main context, for the machine that builds, and for nothing else.
    pub fn new(context: Context, build_platform: Platform) -> Self {
        Self {
            target: None,
            build_args: BTreeMap::new(),
            context,
            contexts: BTreeMap::new(),
            platform: None,
            build_platform,
            labels: BTreeMap::new(),
            tags: Vec::new(),
            name: None,
            no_cache: false,
            no_cache_filter: BTreeSet::new(),
            add_hosts: Vec::new(),
            network: Network::Default,
            shm_size: None,
            ulimits: Vec::new(),
            source_date_epoch: None,
            programs: Vec::new(),
            proxies: BTreeMap::new(),
        }
    }

    /// For which machines an image is that says nothing itself.
    pub(crate) fn target_platform(&self) -> &Platform {
        self.platform.as_ref().unwrap_or(&self.build_platform)
    }

    /// The proxies with a value, in capitals.
    pub(super) fn proxies(&self) -> BTreeMap<&'static str, &str> {
        let all = self.proxies.iter().chain(&self.build_args);
        let known = all.filter_map(|(name, value)| Some((proxy(name)?, value.as_str())));
        let mut proxies: BTreeMap<&'static str, &str> = known.collect();
        proxies.retain(|_, value| !value.is_empty());
        proxies
    }
}

/// The name of a proxy variable, in capitals.
pub(super) fn proxy(name: &str) -> Option<&'static str> {
    const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
    PROXIES.into_iter().find(|proxy| proxy.eq_ignore_ascii_case(name))
}
