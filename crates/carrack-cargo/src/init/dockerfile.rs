//! The values of the Dockerfile's template.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use carrack_base::ImagePath;
use carrack_graph::Owner;
use serde::Serialize;

use crate::config::{AddedFile, BuildVariable, Healthcheck};
use crate::environment::{Class, classify};
use crate::lower::{CERTIFICATES, ImageUser, SEARCH_PATH};
use crate::plan::{CargoPlan, Service, docker_commands};

use super::images::{self, Base};
use super::{InitError, Layout, Surroundings};

/// Cargo's name of its own registry, the only one that needs no credentials.
const CRATES_IO: [&str; 2] =
    ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

#[derive(Debug, Serialize)]
pub(super) struct DockerfileValues {
    project: String,
    /// What follows `docker build --target NAME`.
    docker_arguments: String,
    builder: String,
    bases: Vec<BaseStage>,
    build_packages: Vec<String>,
    pub(super) build_arguments: Vec<String>,
    build_env: Vec<Variable>,
    pub(super) secrets: Vec<String>,
    workspace: String,
    prefix: String,
    mounts: Vec<String>,
    /// Shell commands that export secrets, each with a space behind it.
    secret_variables: String,
    /// Packages whose version stays in the manifests, with a space around each.
    kept_versions: String,
    /// Finds the manifests of packages that are stubs for the dependencies.
    find_manifests: String,
    /// Folders that the dependencies need with their code: what they depend on themselves, and vendored sources.
    real_folders: Vec<String>,
    cargo_dependencies: String,
    cargo_application: String,
    /// Where cargo puts binaries.
    output: String,
    programs: Vec<String>,
    /// Whether a base has no package manager, so that libraries go there as files.
    bare: bool,
    /// Whether all of these bases have libc.
    bare_has_libc: bool,
    file_stages: Vec<FileStage>,
    services: Vec<ServiceStage>,
}

#[derive(Debug, Serialize)]
struct BaseStage {
    argument: String,
    stage: String,
    image: String,
    is_debian: bool,
    account: Option<Account>,
}

/// A user that is not root. The image has no other one of ours: accounts of different services may share a name.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Account {
    name: String,
    group: String,
    uid: u32,
    gid: u32,
}

#[derive(Debug, Serialize)]
struct Variable {
    name: String,
    /// Quoted.
    value: String,
}

#[derive(Debug, Serialize)]
struct FileStage {
    name: String,
    from: String,
    mode: String,
}

#[derive(Debug, Serialize)]
struct ServiceStage {
    name: String,
    base_stage: String,
    is_debian: bool,
    packages: Vec<String>,
    /// Folders that belong to the service's user.
    folders: Vec<String>,
    files: Vec<CopiedFile>,
    env: Vec<Variable>,
    labels: Vec<Variable>,
    workdir: String,
    user: String,
    ports: Vec<String>,
    volumes: Option<String>,
    stop_signal: Option<String>,
    healthcheck: Option<String>,
    entrypoint: String,
    cmd: Option<String>,
}

#[derive(Debug, Serialize)]
struct CopiedFile {
    flags: String,
    from: String,
    to: String,
}

pub(super) fn values(
    plan: &CargoPlan,
    around: &Surroundings,
    layout: &Layout,
) -> Result<DockerfileValues, InitError> {
    let builder = images::builder(plan, around)?;
    let mut bases: Vec<(Base, BaseStage)> = Vec::new();
    let mut file_stages = Vec::new();
    let mut services = Vec::new();
    for service in &plan.services {
        let base = images::base(&service.binary, &service.config, &builder)?;
        let of_service = |source| InitError::User { service: service.binary.clone(), source };
        let user = ImageUser::new(service.config.user.as_deref()).map_err(of_service)?;
        let Owner { uid, gid } = user.ids();
        let account = (uid != 0 && base.is_debian).then(|| Account {
            name: user.name().to_owned(),
            group: user.group().to_owned(),
            uid,
            gid,
        });
        let is_same = |(known, stage): &(Base, BaseStage)| *known == base && stage.account == account;
        let place = bases.iter().position(is_same).unwrap_or_else(|| {
            let suffix = |word: &str, dash: &str| match bases.len() {
                0 => word.to_owned(),
                others => format!("{word}{dash}{}", others + 1),
            };
            let stage = BaseStage {
                argument: suffix("RUNTIME", "_"),
                stage: suffix("runtime", "-"),
                image: base.image.clone(),
                is_debian: base.is_debian,
                account,
            };
            bases.push((base, stage));
            bases.len() - 1
        });
        let stage = &bases[place].1;
        services.push(service_stage(service, stage, &user, layout, &mut file_stages)?);
    }

    let (arguments, secrets): (Vec<_>, Vec<_>) = plan
        .workspace
        .build_env
        .iter()
        .filter(|(_, variable)| matches!(variable, BuildVariable::FromCaller))
        .map(|(name, _)| name.clone())
        .partition(|name| classify(name) != Class::Credential);
    let build_env = plan.workspace.build_env.iter().filter_map(|(name, variable)| match variable {
        BuildVariable::Value(value) => Some((name.clone(), value.clone())),
        BuildVariable::FromCaller => None,
    });
    let (dependencies, application) = docker_commands(plan);
    let below = plan.local_packages.iter().filter(|package| package.below_external);
    let real_folders = below
        .map(|package| package.folder.as_path())
        .chain(plan.vendored.iter().map(|folder| folder.as_path()))
        .map(|folder| {
            Ok(format!("./{}", plain_path(folder.strip_prefix(&layout.context).unwrap_or(folder))?))
        })
        .collect::<Result<Vec<_>, InitError>>()?;
    let prune: String = real_folders.iter().map(|folder| format!("-path {folder} -prune -o ")).collect();
    let kept = plan.local_packages.iter().filter(|package| package.version_matters || package.below_external);
    let kept_versions: String = kept.map(|package| format!(" {}", package.name)).collect();
    let bare = || bases.iter().map(|(base, _)| base).filter(|base| !base.is_debian);
    Ok(DockerfileValues {
        docker_arguments: if layout.prefix.is_empty() {
            ".".to_owned()
        } else {
            format!("-f Dockerfile {}", super::relative(&layout.context, &plan.root))
        },
        build_packages: build_packages(plan),
        build_arguments: arguments,
        build_env: variables(build_env.collect())?,
        workspace: layout.workspace.clone(),
        prefix: layout.prefix.clone(),
        mounts: mounts(&around.project, plan, &secrets),
        secret_variables: secrets
            .iter()
            .map(|name| {
                format!(
                    "if [ -e /run/secrets/{name} ]; then export {name}=\"$(cat /run/secrets/{name})\"; fi; "
                )
            })
            .collect(),
        kept_versions: format!("{kept_versions} "),
        find_manifests: format!("find . {prune}-name Cargo.toml"),
        real_folders,
        cargo_dependencies: shell_words(&dependencies),
        cargo_application: shell_words(&application),
        output: output(plan),
        programs: plan.services.iter().map(|service| service.binary.clone()).collect(),
        bare: bare().next().is_some(),
        bare_has_libc: bare().all(|base| base.has_libc),
        bases: bases.into_iter().map(|(_, stage)| stage).collect(),
        project: around.project.clone(),
        builder,
        secrets,
        file_stages,
        services,
    })
}

fn service_stage(
    service: &Service,
    base: &BaseStage,
    user: &ImageUser,
    layout: &Layout,
    file_stages: &mut Vec<FileStage>,
) -> Result<ServiceStage, InitError> {
    let config = &service.config;
    let mut files = Vec::new();
    for added in &config.files {
        files.push(copied_file(service, added, user, layout, file_stages)?);
    }
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), SEARCH_PATH.to_owned()),
        ("SSL_CERT_FILE".to_owned(), CERTIFICATES.to_owned()),
    ]);
    env.extend(config.env.clone());
    let json = |words: &Vec<String>| serde_json::json!(words).to_string();
    let binary = vec![format!("/usr/local/bin/{}", service.binary)];
    let volumes: Vec<String> = config.volumes.iter().map(ToString::to_string).collect();
    Ok(ServiceStage {
        name: service.binary.clone(),
        base_stage: base.stage.clone(),
        is_debian: base.is_debian,
        packages: config.packages.run.clone(),
        folders: user.folders(config).into_iter().map(|folder| folder.to_string()).collect(),
        files,
        env: variables(env)?,
        labels: variables(config.labels.clone())?,
        workdir: config.workdir.clone().unwrap_or_else(ImagePath::root).to_string(),
        user: user.setting(),
        ports: config.ports.iter().map(ToString::to_string).collect(),
        volumes: (!volumes.is_empty()).then(|| json(&volumes)),
        stop_signal: config.stop_signal.clone(),
        healthcheck: config.healthcheck.as_ref().map(healthcheck),
        entrypoint: json(config.entrypoint.as_ref().unwrap_or(&binary)),
        cmd: config.cmd.as_ref().map(json),
    })
}

fn copied_file(
    service: &Service,
    added: &AddedFile,
    user: &ImageUser,
    layout: &Layout,
    file_stages: &mut Vec<FileStage>,
) -> Result<CopiedFile, InitError> {
    let within = added.from.strip_prefix(&layout.context).unwrap_or(&added.from);
    let from = match plain_path(within)?.as_str() {
        "" => ".".to_owned(),
        path => path.to_owned(),
    };
    let mut flags = String::new();
    if let Some(owner) = &added.owner {
        let of_service = |source| InitError::User { service: service.binary.clone(), source };
        let owner = user.owner(owner).map_err(of_service)?;
        flags.push_str(&format!("--chown={}:{} ", owner.uid, owner.gid));
    }
    let mut to = plain_path(Path::new(added.to.as_str()))?;
    let from = match added.mode {
        None => from,
        Some(mode) if !added.from.is_dir() => {
            flags.push_str(&format!("--chmod={mode:04o} "));
            from
        }
        // The mode is that of the files, and `--chmod` would be that of the folders too.
        Some(mode) => {
            let name = format!("files-{}", file_stages.len() + 1);
            flags.push_str(&format!("--from={name} "));
            file_stages.push(FileStage { name, from, mode: format!("{mode:04o}") });
            to.push('/');
            "/files/".to_owned()
        }
    };
    Ok(CopiedFile { flags, from, to })
}

/// What compiling takes, besides what every builder has.
fn build_packages(plan: &CargoPlan) -> Vec<String> {
    let configured = plan.services.iter().flat_map(|service| &service.config.packages.build);
    let mut packages: Vec<String> = plan.system_packages.iter().chain(configured).cloned().collect();
    packages.sort();
    packages.dedup();
    packages
}

fn mounts(project: &str, plan: &CargoPlan, secrets: &[String]) -> Vec<String> {
    let cache = |name: &str, target: &str| {
        format!("--mount=type=cache,id={project}-{name},target={target},sharing=locked")
    };
    let mut mounts = vec![
        cache("registry", "/usr/local/cargo/registry"),
        cache("git", "/usr/local/cargo/git"),
        cache("target", "/target"),
        // For a company's own certificates: `--secret id=ca-certificates,src=/etc/ssl/certs/ca-certificates.crt`.
        format!("--mount=type=secret,id=ca-certificates,target={CERTIFICATES}"),
    ];
    let sources = || plan.external_packages.iter().map(|package| package.source.as_str());
    let is_private = |source: &str| {
        !source.starts_with("git+") && !CRATES_IO.iter().any(|public| source.starts_with(public))
    };
    if sources().any(is_private) {
        mounts.push(
            "--mount=type=secret,id=cargo-credentials,target=/usr/local/cargo/credentials.toml".to_owned(),
        );
    }
    if sources().any(|source| source.starts_with("git+ssh:")) {
        mounts.push("--mount=type=ssh".to_owned());
    }
    mounts.extend(secrets.iter().map(|name| format!("--mount=type=secret,id={name}")));
    mounts
}

/// Where cargo puts binaries of the plan's profile and target.
fn output(plan: &CargoPlan) -> String {
    let folder = match plan.workspace.profile.as_str() {
        "dev" | "test" => "debug",
        "bench" => "release",
        profile => profile,
    };
    match &plan.workspace.target {
        Some(target) => {
            let name = Path::new(target).file_stem().filter(|_| target.ends_with(".json"));
            let name = name.map_or(target.clone().into(), |name| name.to_string_lossy());
            format!("/target/{name}/{folder}")
        }
        None => format!("/target/{folder}"),
    }
}

fn healthcheck(healthcheck: &Healthcheck) -> String {
    match healthcheck {
        Healthcheck::Disabled => "NONE".to_owned(),
        // `--start-interval` is newer than the Docker that these files are for.
        Healthcheck::Command { cmd, interval, timeout, start_period, start_interval: _, retries } => {
            let times = [("interval", interval), ("timeout", timeout), ("start-period", start_period)];
            let times = times
                .into_iter()
                .filter_map(|(name, time)| Some(format!("--{name}={} ", duration((*time)?))));
            let retries = retries.map(|retries| format!("--retries={retries} "));
            let flags: String = times.chain(retries).collect();
            format!("{flags}CMD {}", serde_json::json!(cmd))
        }
    }
}

/// As Docker reads it: `30s`, `1500ms`.
pub(super) fn duration(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}

fn variables(map: BTreeMap<String, String>) -> Result<Vec<Variable>, InitError> {
    let quoted =
        |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"));
    let variable = |(name, value): (String, String)| {
        // Quoted or not, an instruction ends with its line.
        if name.contains('\n') || value.contains('\n') {
            return Err(InitError::LineEnd { name });
        }
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        let name = if name.chars().all(plain) { name } else { quoted(&name) };
        Ok(Variable { name, value: quoted(&value) })
    };
    map.into_iter().map(variable).collect()
}

/// `words` as a shell reads them.
fn shell_words(words: &[String]) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./=,@:+".contains(letter);
    let quoted = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A path that means itself in a Dockerfile, a shell and a .dockerignore.
///
/// Errors: [`InitError::Path`].
pub(super) fn plain_path(path: &Path) -> Result<String, InitError> {
    let unusable = || InitError::Path { path: path.to_owned() };
    let text = path.to_str().ok_or_else(unusable)?;
    let plain = |letter: char| letter.is_alphanumeric() || "_-./+@,=~".contains(letter);
    if text.chars().all(plain) { Ok(text.to_owned()) } else { Err(unusable()) }
}
