//! Files to one merged document: `extends` and `include` followed, several files and documents merged in their order.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrack_base::{SourceText, Span, nearest};

use super::dotenv;
use super::error::{ComposeError, Invalid};
use super::interpolate::{Variables, interpolate};
use super::merge::merge;
use super::normal::{Places, kind, normalise};
use super::yaml::{self, Key, Map, Node, Value};

/// What every file of a project is read with.
pub(super) struct Loader<'a> {
    pub(super) home: Option<&'a Path>,
    /// Variables that had no value.
    pub(super) unset: BTreeSet<String>,
    /// Files that include each other, from the outermost on.
    including: Vec<PathBuf>,
}

/// Files that are one project, or an included one.
struct Unit<'a> {
    folder: &'a Path,
    variables: &'a Variables,
}

/// A service on the way along `extends`.
struct Extending<'a> {
    services: &'a Map,
    file: &'a Path,
    chain: &'a mut Vec<(PathBuf, String)>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(home: Option<&'a Path>) -> Self {
        Self { home, unset: BTreeSet::new(), including: Vec::new() }
    }

    /// The merged document of `files`, with paths that start at `folder`.
    pub(super) fn load(
        &mut self,
        files: &[PathBuf],
        folder: &Path,
        variables: &Variables,
    ) -> Result<Node, ComposeError> {
        self.load_named(files, &[], &Unit { folder, variables })
    }

    fn load_named(
        &mut self,
        files: &[PathBuf],
        named_at: &[Span],
        unit: &Unit<'_>,
    ) -> Result<Node, ComposeError> {
        let mut merged = None;
        for (index, file) in files.iter().enumerate() {
            let source = read(file, named_at.get(index))?;
            for mut document in self.documents(&source, unit)? {
                self.extend_all(&mut document, file, unit)?;
                self.include(&mut document, file, unit)?;
                merged = Some(merge(merged, document));
            }
        }
        let mut merged = merged.ok_or_else(|| {
            let path = files.last().cloned().unwrap_or_default();
            ComposeError::Empty { path }
        })?;
        default_contexts(&mut merged, unit.folder);
        Ok(merged)
    }

    /// The documents of a file in their long form.
    fn documents(&mut self, source: &Arc<SourceText>, unit: &Unit<'_>) -> Result<Vec<Node>, ComposeError> {
        let mut documents = yaml::parse(source)?;
        if documents.is_empty() {
            return Err(ComposeError::Empty { path: source.path.clone() });
        }
        for document in &mut documents {
            interpolate(document, unit.variables, &mut self.unset)?;
            normalise(document, &Places { folder: unit.folder, home: self.home })?;
        }
        Ok(documents)
    }

    fn extend_all(&mut self, document: &mut Node, file: &Path, unit: &Unit<'_>) -> Result<(), ComposeError> {
        let Some(services) = document.as_map().and_then(|top| top.get("services")).and_then(Node::as_map)
        else {
            return Ok(());
        };
        let services = services.clone();
        let mut extended = services.clone();
        for (key, service) in &mut extended.entries {
            let mut extending = Extending { services: &services, file, chain: &mut Vec::new() };
            if service.as_map().is_some_and(|service| service.get("extends").is_some()) {
                *service = self.extend(&key.text, service, &mut extending, unit)?;
            }
        }
        let services = document.as_map_mut().and_then(|top| top.get_mut("services"));
        services.expect("it was there").value = Value::Map(extended);
        Ok(())
    }

    /// A service with everything that it extends.
    fn extend(
        &mut self,
        name: &str,
        service: &Node,
        extending: &mut Extending<'_>,
        unit: &Unit<'_>,
    ) -> Result<Node, ComposeError> {
        let mut service = service.clone();
        let Some((_, extends)) = service.as_map_mut().and_then(|service| service.remove("extends")) else {
            return Ok(service);
        };
        let here = (extending.file.to_owned(), name.to_owned());
        if extending.chain.contains(&here) {
            let chain = extending.chain.iter().chain([&here]).map(|(_, name)| name.clone()).collect();
            return Err(ComposeError::invalid(&extends.span, Invalid::Circle { chain }));
        }
        extending.chain.push(here);
        let place = format!("services.{name}.extends");
        let options = extends.as_map().expect("the long form is a mapping");
        let Some(wanted) = options.get("service") else {
            return Err(ComposeError::invalid(&extends.span, Invalid::Missing { place, key: "service" }));
        };
        let text = wanted.as_text().ok_or_else(|| kind(wanted, &format!("{place}.service"), "text"))?;
        let file = options.get("file").filter(|file| !matches!(file.value, Value::Null));
        let base = match file {
            None => self.extended(text, wanted, None, extending, unit)?,
            Some(file) => {
                let path = file.as_text().ok_or_else(|| kind(file, &format!("{place}.file"), "text"))?;
                let path = PathBuf::from(path);
                let folder = path.parent().unwrap_or(unit.folder);
                let unit = Unit { folder, ..*unit };
                let source = read(&path, Some(&file.span))?;
                let documents = self.documents(&source, &unit)?;
                let merged = documents.into_iter().fold(None, |base, over| Some(merge(base, over)));
                let services = merged
                    .as_ref()
                    .and_then(Node::as_map)
                    .and_then(|top| top.get("services"))
                    .and_then(Node::as_map)
                    .cloned()
                    .unwrap_or_default();
                let mut other = Extending { services: &services, file: &path, chain: extending.chain };
                self.extended(text, wanted, Some(&path), &mut other, &unit)?
            }
        };
        Ok(merge(Some(base), service))
    }

    /// The service that another one extends.
    fn extended(
        &mut self,
        name: &str,
        wanted: &Node,
        file: Option<&Path>,
        extending: &mut Extending<'_>,
        unit: &Unit<'_>,
    ) -> Result<Node, ComposeError> {
        let Some(service) = extending.services.get(name) else {
            let known = extending.services.entries.iter().map(|(key, _)| key.text.as_str());
            let what = Invalid::NothingToExtend {
                name: name.to_owned(),
                file: file.map(Path::to_owned),
                nearest: nearest(name, known).map(str::to_owned),
            };
            return Err(ComposeError::invalid(&wanted.span, what));
        };
        self.extend(name, service, extending, unit)
    }

    /// Puts what a document includes below what it says itself.
    fn include(&mut self, document: &mut Node, file: &Path, unit: &Unit<'_>) -> Result<(), ComposeError> {
        let top = document.as_map_mut().expect("the long form is a mapping");
        let Some((_, Node { value: Value::List(includes), .. })) = top.remove("include") else {
            return Ok(());
        };
        self.including.push(file.to_owned());
        let mut below: Option<Node> = None;
        for include in &includes {
            let mut included = self.included(include, unit)?;
            // What two files include alike is there once.
            if let (Some(below), Some(top)) = (&below, included.as_map_mut()) {
                forget_known(top, below);
            }
            below = Some(merge(below, included));
        }
        self.including.pop();
        if let Some(below) = below {
            *document = merge(Some(below), document.clone());
        }
        Ok(())
    }

    fn included(&mut self, include: &Node, unit: &Unit<'_>) -> Result<Node, ComposeError> {
        let options = include.as_map().expect("the long form is a mapping");
        let places = Places { folder: unit.folder, home: self.home };
        let texts = |key: &str| -> Result<Vec<(PathBuf, Span)>, ComposeError> {
            let Some(Value::List(items)) = options.get(key).map(|node| &node.value) else {
                return Ok(Vec::new());
            };
            let text = |item: &Node| match item.as_text() {
                Some(text) => Ok((places.resolve(text), item.span.clone())),
                None => Err(kind(item, &format!("include.{key}"), "text")),
            };
            items.iter().map(text).collect()
        };
        let (files, spans): (Vec<PathBuf>, Vec<Span>) = texts("path")?.into_iter().unzip();
        let Some(first) = files.first() else {
            let place = "include".to_owned();
            return Err(ComposeError::invalid(&include.span, Invalid::Missing { place, key: "path" }));
        };
        if let Some((file, span)) = files.iter().zip(&spans).find(|(file, _)| self.including.contains(file)) {
            let start = self.including.iter().position(|known| known == file).unwrap_or_default();
            let chain = self.including[start..].iter().chain([file]).map(|path| path.display().to_string());
            return Err(ComposeError::invalid(span, Invalid::Circle { chain: chain.collect() }));
        }
        let folder = match options.get("project_directory") {
            Some(node) => {
                let text = node.as_text().ok_or_else(|| kind(node, "include.project_directory", "text"))?;
                places.resolve(text)
            }
            None => first.parent().unwrap_or(unit.folder).to_owned(),
        };
        let mut found = Variables::new();
        let env_files = texts("env_file")?;
        for (file, span) in &env_files {
            dotenv::read(file, Some(span), unit.variables, &mut found)?;
        }
        let default = folder.join(".env");
        if env_files.is_empty() && default.is_file() {
            dotenv::read(&default, None, unit.variables, &mut found)?;
        }
        found.extend(unit.variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        let unit = Unit { folder: &folder, variables: &found };
        let mut included = self.load_named(&files, &spans, &unit)?;
        // A project has one name.
        included.as_map_mut().map(|top| top.remove("name"));
        Ok(included)
    }
}

/// Takes services and secrets out of `top` that are in `below` with the same words.
fn forget_known(top: &mut Map, below: &Node) {
    for section in ["services", "secrets"] {
        let known = below.as_map().and_then(|below| below.get(section)).and_then(Node::as_map);
        let new = top.get_mut(section).and_then(Node::as_map_mut);
        if let (Some(known), Some(new)) = (known, new) {
            new.entries.retain(|(key, node)| known.get(&key.text) != Some(node));
        }
    }
}

/// A build without a context has the project's folder.
fn default_contexts(document: &mut Node, folder: &Path) {
    let services = document.as_map_mut().and_then(|top| top.get_mut("services")).and_then(Node::as_map_mut);
    for (_, service) in services.into_iter().flat_map(|services| &mut services.entries) {
        let Some(build) = service.as_map_mut().and_then(|service| service.get_mut("build")) else { continue };
        let span = build.span.clone();
        if let Some(map) = build.as_map_mut()
            && map.get("context").is_none()
        {
            let node = Node::new(Value::Text(folder.to_string_lossy().into_owned()), &span);
            map.entries.push((Key { text: "context".to_owned(), span }, node));
        }
    }
}

fn read(path: &Path, named_at: Option<&Span>) -> Result<Arc<SourceText>, ComposeError> {
    let text = std::fs::read_to_string(path).map_err(|source| ComposeError::Read {
        path: path.to_owned(),
        named_at: named_at.cloned(),
        source,
    })?;
    Ok(Arc::new(SourceText { path: path.to_owned(), text }))
}
