//! What lies around a Dockerfile: the context, its `.dockerignore`, the workspace's manifests, the CI's files.
//!
//! Manifests are read as text, cargo is not asked: a check has to answer on a machine without Rust too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use carrack_base::normalised;
use carrack_cargo::locate::{LocateError, Location, locate};
use carrack_cargo::toolchain::read_toolchain_file;
use carrack_docker::check::{Edit, Fix, Member, Surroundings, Workspace, takes_results};
use carrack_docker::dockerignore::Dockerignore;
use toml_edit::{Document, Item, TableLike};

use crate::caller::Caller;
use crate::failure::Failure;

/// How deep manifests are looked for.
const DEEPEST: usize = 8;

/// The surroundings, and where they are.
pub(super) struct Around {
    pub(super) surroundings: Surroundings,
    pub(super) context: PathBuf,
    ignore_file: PathBuf,
}

impl Around {
    /// Looks around a Dockerfile.
    pub(super) fn of(file: &Path, context: Option<&Path>, caller: &Caller) -> Result<Self, Failure> {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        let start = context.unwrap_or(folder);
        let location = match locate(start, &caller.cargo_home()) {
            Ok(location) => Some(location),
            Err(LocateError::NoManifest { .. }) => None,
            Err(error) => return Err(Failure::Locate(error)),
        };
        let context = match (context, &location) {
            (Some(context), _) => context.to_owned(),
            (None, _) if folder.join("Cargo.toml").is_file() => folder.to_owned(),
            (None, Some(location)) => location.root.clone(),
            (None, None) => folder.to_owned(),
        };
        let context = context.canonicalize().unwrap_or(context);

        let own = PathBuf::from(format!("{}.dockerignore", absolute.display()));
        let ignore_file = if own.is_file() { own } else { context.join(".dockerignore") };
        let ignore = match read(&ignore_file)? {
            None => None,
            Some(text) => Some(
                Dockerignore::parse(&text)
                    .map_err(|source| Failure::Dockerignore { path: ignore_file.clone(), source })?,
            ),
        };
        // A workspace that is not in the context is none of this build's.
        let location = location.filter(|location| location.root.starts_with(&context));
        let workspace = match &location {
            Some(location) => Some(workspace(location, &context)?),
            None => None,
        };
        let surroundings = Surroundings { workspace, ignore, ci: ci(&context) };
        Ok(Self { surroundings, context, ignore_file })
    }

    /// Whether `target/` may be left out: no Dockerfile of this context copies from it.
    pub(super) fn may_ignore_results(&self) -> bool {
        let files = super::dockerfiles_in(&self.context).unwrap_or_default();
        files.iter().filter_map(|file| super::read(file).ok()).all(|dockerfile| !takes_results(&dockerfile))
    }

    /// Adds to `.dockerignore` what fixes want there.
    pub(super) fn ignore(&self, fixes: &[&Fix]) -> Result<(), Failure> {
        let mut text = read(&self.ignore_file)?.unwrap_or_default();
        let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let before = text.len();
        for fix in fixes {
            let Edit::Ignore { pattern } = &fix.edit else { continue };
            if text.lines().any(|line| line == pattern) {
                continue;
            }
            if !text.is_empty() && !text.ends_with('\n') {
                text.push_str(end);
            }
            text.push_str(&format!("{pattern}{end}"));
        }
        if text.len() == before { Ok(()) } else { super::write(&self.ignore_file, &text) }
    }
}

/// The text of a file, if it is there.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Failure::Unreadable { path: path.to_owned(), source }),
    }
}

fn toml(path: &Path) -> Result<Option<Document<String>>, Failure> {
    let Some(text) = read(path)? else { return Ok(None) };
    let document = Document::parse(text);
    document
        .map(Some)
        .map_err(|error| Failure::Manifest { path: path.to_owned(), message: error.message().to_owned() })
}

/// A path below the context with slashes; nothing if it is not below.
fn relative(path: &Path, context: &Path) -> Option<String> {
    normalised(path).strip_prefix(context).ok()?.to_str().map(str::to_owned)
}

fn workspace(location: &Location, context: &Path) -> Result<Workspace, Failure> {
    let root_file = location.root.join("Cargo.toml");
    let root = toml(&root_file)?.unwrap_or_else(|| Document::parse(String::new()).expect("nothing is TOML"));
    let table = root.get("workspace");
    let texts = |key: &str| -> Vec<String> {
        let array = table.and_then(|table| table.get(key)).and_then(Item::as_array);
        array.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    let (members, exclude) = (texts("members"), texts("exclude"));
    let mut folders = BTreeSet::new();
    manifests(context, context, 0, &mut folders);
    let base = relative(&location.root, context).unwrap_or_default();
    let in_workspace = |folder: &str| match base.is_empty() {
        true => Some(folder.to_owned()),
        false if folder == base => Some(String::new()),
        false => folder.strip_prefix(&format!("{base}/")).map(str::to_owned),
    };

    let mut found = Workspace { folder: base.clone(), ..Workspace::default() };
    let mut inherited = BTreeSet::new();
    for folder in &folders {
        let Some(inner) = in_workspace(folder) else { continue };
        let listed = inner.is_empty() || members.iter().any(|member| member.trim_end_matches('/') == inner);
        let fits = || members.iter().any(|member| fits(member, &inner));
        let is_excluded = exclude.iter().any(|path| inner == *path || inner.starts_with(&format!("{path}/")));
        if !(listed || (fits() && !is_excluded)) {
            continue;
        }
        let folder_path = context.join(folder);
        let Some(manifest) = toml(&folder_path.join("Cargo.toml"))? else { continue };
        named_paths(manifest.as_table(), &folder_path, context, &mut found.outside, &mut inherited);
        let Some(package) = manifest.get("package") else { continue };
        let Some(name) = package.get("name").and_then(Item::as_str) else { continue };
        found.members.push(Member {
            name: name.to_owned(),
            folder: folder.clone(),
            listed,
            binaries: binaries(&manifest, name, &folder_path),
        });
        let rust_version = match package.get("rust-version") {
            Some(item) if item.is_str() => item.as_str(),
            Some(_) => table.and_then(|table| table.get("package")?.get("rust-version")?.as_str()),
            None => None,
        };
        let newer = |version: &str| {
            let numbers =
                |text: &str| text.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
            found.rust_version.as_deref().is_none_or(|known| numbers(version) > numbers(known))
        };
        if let Some(version) = rust_version.filter(|version| newer(version)) {
            found.rust_version = Some(version.to_owned());
        }
    }
    let shared = table.and_then(|table| table.get("dependencies")).and_then(Item::as_table_like);
    for (name, dependency) in shared.into_iter().flat_map(TableLike::iter) {
        if inherited.contains(name) {
            add_path(dependency, &location.root, context, &mut found.outside);
        }
    }
    let patches = root.get("patch").and_then(Item::as_table_like);
    let patches =
        patches.into_iter().flat_map(TableLike::iter).filter_map(|(_, source)| source.as_table_like());
    for (_, patch) in patches.flat_map(TableLike::iter) {
        add_path(patch, &location.root, context, &mut found.outside);
    }
    let own: Vec<&String> = found.members.iter().map(|member| &member.folder).collect();
    found.outside.retain(|folder| !own.contains(&folder) && folders.contains(folder));
    found.manifests = folders;
    found.locked = locked(location)?;
    found.toolchain = toolchain(location)?;
    configuration(location, &mut found)?;
    Ok(found)
}

/// Every folder with a manifest, without cargo's results and what is hidden.
fn manifests(folder: &Path, context: &Path, depth: usize, found: &mut BTreeSet<String>) {
    if folder.join("Cargo.toml").is_file() {
        found.extend(relative(folder, context));
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|_| depth < DEEPEST) {
        let name = entry.file_name();
        let hidden = name
            .to_str()
            .is_none_or(|name| name.starts_with('.') || ["target", "node_modules"].contains(&name));
        if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            manifests(&entry.path(), context, depth + 1, found);
        }
    }
}

/// Whether a folder fits a member's pattern: the same names, with `*` and `?` in them.
fn fits(pattern: &str, folder: &str) -> bool {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    let same_depth = pattern.contains("**") || pattern.split('/').count() == folder.split('/').count();
    same_depth && Dockerignore::parse(pattern).is_ok_and(|pattern| pattern.ignores(folder))
}

fn binaries(manifest: &Document<String>, package: &str, folder: &Path) -> Vec<String> {
    let mut names = BTreeSet::new();
    let tables = manifest.get("bin").and_then(Item::as_array_of_tables);
    names.extend(
        tables.into_iter().flatten().filter_map(|table| Some(table.get("name")?.as_str()?.to_owned())),
    );
    let automatic =
        manifest.get("package").and_then(|package| package.get("autobins")).and_then(Item::as_bool);
    if automatic != Some(false) {
        if folder.join("src/main.rs").is_file() {
            names.insert(package.to_owned());
        }
        for entry in fs::read_dir(folder.join("src/bin")).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_program =
                path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file();
            names.extend(
                path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_program).map(str::to_owned),
            );
        }
    }
    names.into_iter().collect()
}

/// Paths of dependencies, and the names of those that the workspace's manifest describes.
fn named_paths(
    manifest: &dyn TableLike,
    folder: &Path,
    context: &Path,
    outside: &mut BTreeSet<String>,
    inherited: &mut BTreeSet<String>,
) {
    let targets = manifest.get("target").and_then(Item::as_table_like);
    let targets =
        targets.into_iter().flat_map(TableLike::iter).filter_map(|(_, target)| target.as_table_like());
    for table in std::iter::once(manifest).chain(targets) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let dependencies = table.get(kind).and_then(Item::as_table_like);
            for (name, dependency) in dependencies.into_iter().flat_map(TableLike::iter) {
                if dependency.get("workspace").and_then(Item::as_bool) == Some(true) {
                    inherited.insert(name.to_owned());
                }
                add_path(dependency, folder, context, outside);
            }
        }
    }
}

fn add_path(dependency: &Item, folder: &Path, context: &Path, outside: &mut BTreeSet<String>) {
    let path = dependency.get("path").and_then(Item::as_str);
    outside.extend(path.and_then(|path| relative(&folder.join(path), context)));
}

fn locked(location: &Location) -> Result<Option<BTreeSet<String>>, Failure> {
    let Some(path) = &location.lock_file else { return Ok(None) };
    let Some(lock) = toml(path)? else { return Ok(None) };
    let packages = lock.get("package").and_then(Item::as_array_of_tables);
    let names =
        packages.into_iter().flatten().filter_map(|package| package.get("name")?.as_str().map(str::to_owned));
    Ok(Some(names.collect()))
}

fn toolchain(location: &Location) -> Result<Option<String>, Failure> {
    let file = location.toolchain_file.as_deref().map(read_toolchain_file).transpose()?;
    Ok(file.and_then(|file| file.channel))
}

/// What cargo's configuration in the workspace changes.
fn configuration(location: &Location, found: &mut Workspace) -> Result<(), Failure> {
    let own = location.cargo_configs.iter().filter(|config| config.starts_with(&location.root));
    for path in own.rev() {
        let Some(document) = toml(path)? else { continue };
        if let Some(build) = document.get("build") {
            let text = |key: &str| build.get(key).and_then(Item::as_str).map(str::to_owned);
            found.target = text("target").or(found.target.take());
            found.target_folder = text("target-dir").or(found.target_folder.take());
        }
        found.links_statically |= document.to_string().contains("+crt-static");
    }
    Ok(())
}

/// The CI's files that build images on machines without a memory.
fn ci(context: &Path) -> Vec<String> {
    const BUILDS: [&str; 6] = [
        "docker/build-push-action",
        "docker/bake-action",
        "docker build",
        "docker compose build",
        "docker-compose build",
        "make build-image",
    ];
    const KEEPS: [&str; 5] = ["cache-dance", "self-hosted", "depot", "namespace", "blacksmith"];
    let repository = context.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(context);
    let workflows = fs::read_dir(repository.join(".github/workflows")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = workflows.map(|entry| entry.path()).collect();
    files.push(repository.join(".gitlab-ci.yml"));
    files.sort();
    files.retain(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        BUILDS.iter().any(|word| text.contains(word)) && !KEEPS.iter().any(|word| text.contains(word))
    });
    files.iter().filter_map(|file| relative(file, repository)).collect()
}
