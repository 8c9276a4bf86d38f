//! Draws the build graph of a workspace: one cargo invocation, then for each service its layers and its image.
//!
//! ```text
//! Tree(sources) → Exec(cargo build) ─┬→ Closure → Layer(libraries) ─┐
//!                                    └──────────→ Layer(binary) ────┼→ Image     for each service
//!                                       Layer(files, if any) ───────┘
//! ```
//!
//! A service with a base of its own has no closure: see `based`.
//!
//! Everything that decides the result stands in the ops: the engine looks at nothing else. Nothing is read here.

mod based;
mod user;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carrack_base::{ImagePath, Platform};
use carrack_graph::{
    AddedFile, BuildFolder, BuildGraph, ClosureOp, EnvValue, ExecMount, ExecOp, ExecRoot, GraphError,
    HostTree, ImageOp, ImageSettings, LayerOp, LayerPart, NodeId, Op, Probe, ResolvedImage, TreeOp,
};

use crate::config::Healthcheck;
use crate::plan::{self, CargoPlan, Service};
pub(crate) use user::ImageUser;
pub use user::UserError;

/// The name under which the engine has to know [`crate::tool::CargoTool`].
pub const TOOL: &str = "cargo";

/// Where binaries go.
const BINARIES: &str = "/usr/local/bin";
pub(crate) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
pub(crate) const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the caller of a build adds to the plan. Paths are the host's.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The command line: cargo and its arguments, as it runs inside.
    pub argv: Vec<String>,
    /// The environment of the build.
    pub env: BTreeMap<String, EnvValue>,
    /// What decides the result besides sources, arguments and environment (`rustc` → `1.95.0`), in words for people.
    pub identity: BTreeMap<String, String>,
    /// Name of the build folder in the store.
    pub build_folder: String,
    /// Carrack's state folder.
    pub state: PathBuf,
    /// Carrack's own CARGO_HOME.
    pub cargo_home: PathBuf,
    /// Cargo's configuration in the user's CARGO_HOME.
    pub cargo_configs: Vec<PathBuf>,
    /// The lock file that was resolved for a workspace that has none.
    pub lock_file: Option<String>,
    /// Files and folders with credentials, hidden from the build.
    pub credentials: Vec<PathBuf>,
    /// Folders below the sources that are no input: the workspace's own target folder.
    pub left_out: Vec<PathBuf>,
    /// For which machines the images are.
    pub platform: Platform,
    /// Time of everything in the images, in seconds since the epoch.
    pub created: u64,
    /// Images that a service makes in place of its configured one, by its binary.
    pub images: BTreeMap<String, Vec<ServiceImage>>,
    /// Labels of every image.
    pub labels: BTreeMap<String, String>,
    /// The images that services start from, by the names that the configuration has for them.
    pub bases: BTreeMap<String, ResolvedImage>,
}

/// An image of a service with names that are not the configured ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceImage {
    /// What the caller calls it.
    pub name: String,
    /// Its references, at least one.
    pub tags: Vec<String>,
    /// Labels besides those of every image.
    pub labels: BTreeMap<String, String>,
}

/// A plan that can't become a graph.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// A service's user, or a file's owner, makes no sense.
    #[error("service {service}: {source}")]
    User {
        /// The service.
        service: String,
        /// Why.
        #[source]
        source: UserError,
    },
    /// The graph was drawn wrongly: a bug.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// The folders whose content decides the result.
pub fn sources(plan: &CargoPlan, left_out: &[PathBuf]) -> TreeOp {
    let mut folders: Vec<&Path> = vec![&plan.root];
    folders.extend(plan.outside_packages.iter().map(PathBuf::as_path));
    folders.extend(plan.vendored.iter().map(PathBuf::as_path));
    folders.sort();
    // A folder within another one is walked with it.
    folders.dedup_by(|inner, outer| inner.starts_with(*outer));
    let tree = |folder: &Path| HostTree {
        name: relative(folder, &plan.root),
        exclude: left_out.iter().filter(|path| path.starts_with(folder)).cloned().collect(),
        host: folder.to_owned(),
    };
    TreeOp { trees: folders.into_iter().map(tree).collect() }
}

/// `folder` as seen from `base`: `` for itself, `../shared` for a neighbour. Two checkouts agree on it.
pub(crate) fn relative(folder: &Path, base: &Path) -> String {
    let common = folder.iter().zip(base.iter()).take_while(|(one, other)| one == other).count();
    let up = base.iter().skip(common).map(|_| "..".into());
    let down = folder.iter().skip(common).map(|part| part.to_string_lossy());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// The graph of `plan`.
///
/// Errors: [`LowerError`].
pub fn lower(plan: &CargoPlan, around: &Surroundings) -> Result<BuildGraph, LowerError> {
    let mut graph = BuildGraph::default();
    let tree = graph.add(Op::Tree(sources(plan, &around.left_out)))?;
    let exec = graph.add(Op::Exec(exec(plan, around, tree)))?;
    for service in &plan.services {
        let base = service.config.base.as_deref().and_then(|base| around.bases.get(base));
        let added = match base {
            Some(image) => based::add_service(&mut graph, service, around, exec, image),
            None => add_service(&mut graph, service, around, exec),
        };
        added.map_err(|error| error.of(service))?;
    }
    Ok(graph)
}

fn exec(plan: &CargoPlan, around: &Surroundings, sources: NodeId) -> ExecOp {
    let source_root = (plan.source_root.clone(), PathBuf::from(plan::SOURCE));
    let mut mounts = Vec::new();
    // What is written into the sources is kept beside the build folder, which can't lie among them.
    let (source, target) = if around.state.starts_with(&plan.source_root) {
        let (source, target) = source_root;
        mounts.push(ExecMount::ReadOnly { source, target });
        (plan.root.clone(), inside(plan, &plan.root))
    } else {
        source_root
    };
    mounts.extend([
        ExecMount::Scratch { source, target },
        ExecMount::Folder { source: around.cargo_home.clone(), target: PathBuf::from(plan::CARGO_HOME) },
    ]);
    mounts.extend(around.cargo_configs.iter().filter_map(|source| {
        let target = Path::new(plan::CARGO_HOME).join(source.file_name()?);
        Some(ExecMount::ReadOnly { source: source.clone(), target })
    }));
    let masks = around.credentials.iter().cloned();
    mounts.extend(masks.map(|target| ExecMount::Mask { target }));
    if let Some(text) = &around.lock_file {
        let target = inside(plan, &plan.root.join("Cargo.lock"));
        mounts.push(ExecMount::Text { target, text: text.clone() });
    }
    ExecOp {
        name: "Compile".to_owned(),
        root: ExecRoot::Host,
        tool: TOOL,
        argv: around.argv.clone(),
        env: around.env.clone(),
        cwd: inside(plan, &plan.root),
        sources,
        build_folder: BuildFolder {
            id: around.build_folder.clone(),
            target: PathBuf::from(plan::TARGET),
            owner: plan.root.display().to_string(),
        },
        mounts,
        identity: around.identity.clone(),
        artifacts: plan.services.iter().map(|service| service.binary.clone()).collect(),
    }
}

fn inside(plan: &CargoPlan, path: &Path) -> PathBuf {
    plan.in_sandbox(path).expect("the workspace lies within the source root")
}

/// An error that does not know its service yet.
enum ServiceError {
    User(UserError),
    Graph(GraphError),
}

impl ServiceError {
    fn of(self, service: &Service) -> LowerError {
        match self {
            Self::User(source) => LowerError::User { service: service.binary.clone(), source },
            Self::Graph(error) => LowerError::Graph(error),
        }
    }
}

impl From<GraphError> for ServiceError {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

impl From<UserError> for ServiceError {
    fn from(error: UserError) -> Self {
        Self::User(error)
    }
}

fn add_service(
    graph: &mut BuildGraph,
    service: &Service,
    around: &Surroundings,
    exec: NodeId,
) -> Result<(), ServiceError> {
    let config = &service.config;
    let user = ImageUser::new(config.user.as_deref())?;
    let layer = |title, parts| Op::Layer(LayerOp { title, parts, mtime: around.created });
    let artifact = service.binary.clone();
    let binary = path(&format!("{BINARIES}/{}", service.binary));

    let closure = ClosureOp { exec, artifact: artifact.clone(), timezones: config.timezones };
    let closure = graph.add(Op::Closure(closure))?;
    let mut base = vec![LayerPart::Closure(closure)];
    base.extend(user.parts());
    let mut layers = vec![
        graph.add(layer("libraries", base))?,
        graph.add(layer("binary", vec![LayerPart::Artifact { exec, artifact, to: binary.clone() }]))?,
    ];
    let files = files(service, &user)?;
    if !files.is_empty() {
        layers.push(graph.add(layer("files", files))?);
    }

    let mut env = BTreeMap::from([
        ("PATH".to_owned(), SEARCH_PATH.to_owned()),
        ("SSL_CERT_FILE".to_owned(), CERTIFICATES.to_owned()),
    ]);
    env.extend(config.env.clone());
    let mut labels = config.labels.clone();
    labels.extend(around.labels.clone());
    let settings = ImageSettings {
        platform: around.platform.clone(),
        created: around.created,
        env: env.into_iter().map(|(name, value)| format!("{name}={value}")).collect(),
        user: user.setting(),
        workdir: config.workdir.clone().unwrap_or_else(ImagePath::root),
        entrypoint: config.entrypoint.clone().unwrap_or_else(|| vec![binary.to_string()]),
        cmd: config.cmd.clone().unwrap_or_default(),
        ports: config.ports.iter().map(ToString::to_string).collect(),
        volumes: config.volumes.iter().cloned().collect(),
        labels,
        healthcheck: config.healthcheck.as_ref().map(probe),
        stop_signal: config.stop_signal.clone(),
    };
    let configured = || {
        let tags = service.tags.iter().map(|tag| format!("{}:{tag}", service.image));
        vec![ServiceImage { name: service.binary.clone(), tags: tags.collect(), labels: BTreeMap::new() }]
    };
    for image in around.images.get(&service.binary).cloned().unwrap_or_else(configured) {
        let mut settings = settings.clone();
        settings.labels.extend(image.labels);
        let layers = layers.clone();
        graph.add(Op::Image(ImageOp { name: image.name, tags: image.tags, layers, settings }))?;
    }
    Ok(())
}

/// What the configuration adds: files, and the folders that the service's user has to be able to write to.
fn files(service: &Service, user: &ImageUser) -> Result<Vec<LayerPart>, UserError> {
    let config = &service.config;
    let mut parts = Vec::new();
    for added in &config.files {
        let owner = added.owner.as_deref().map_or(Ok(user::ROOT), |owner| user.owner(owner))?;
        let name = added.from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        parts.push(LayerPart::Added(AddedFile {
            from: added.from.clone(),
            name,
            to: added.to.clone(),
            mode: added.mode,
            owner,
        }));
    }
    let folder = |to: &ImagePath| LayerPart::Folder { to: to.clone(), mode: 0o755, owner: user.ids() };
    parts.extend(user.folders(config).into_iter().map(folder));
    Ok(parts)
}

fn probe(healthcheck: &Healthcheck) -> Probe {
    match healthcheck {
        Healthcheck::Disabled => Probe {
            test: vec!["NONE".to_owned()],
            interval: None,
            timeout: None,
            start_period: None,
            start_interval: None,
            retries: None,
        },
        Healthcheck::Command { cmd, interval, timeout, start_period, start_interval, retries } => {
            let nanoseconds = |time: &Option<std::time::Duration>| {
                time.and_then(|time| u64::try_from(time.as_nanos()).ok())
            };
            Probe {
                test: std::iter::once("CMD".to_owned()).chain(cmd.iter().cloned()).collect(),
                interval: nanoseconds(interval),
                timeout: nanoseconds(timeout),
                start_period: nanoseconds(start_period),
                start_interval: nanoseconds(start_interval),
                retries: *retries,
            }
        }
    }
}

fn path(text: &str) -> ImagePath {
    ImagePath::new(text).expect("the text is an absolute path")
}
