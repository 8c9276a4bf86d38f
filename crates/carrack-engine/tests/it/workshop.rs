//! A project, a store of its own, and builds of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use carrack_base::{BuildEvent, Cancel, Digest, ImagePath, Platform};
use carrack_engine::{Engine, EngineError, Inputs, Options};
use carrack_graph::{
    AddedFile, Backend, BuildFolder, BuildGraph, BuiltImage, EnvValue, ExecMount, ExecOp, ExecRoot, HostTree,
    ImageOp, ImageSettings, LayerOp, LayerPart, Op, Owner, TreeOp,
};
use carrack_sandbox::{Launcher, Support};
use carrack_store::Store;
use carrack_testkit::Project;

use crate::shell::Shell;

/// Names the helper where Cargo's answer can't be used.
pub(crate) const HELPER_VARIABLE: &str = "CARRACK_ENGINE_TEST_HELPER";

const SOURCE: &str = "/carrack/src";
const TARGET: &str = "/carrack/target";

/// A project with a state folder of its own.
pub(crate) struct Workshop {
    pub(crate) project: Project,
    pub(crate) state: PathBuf,
    _state: Option<tempfile::TempDir>,
}

/// What a build is made of: a script, and for each of its artifacts an image with that one file.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) script: String,
    pub(crate) artifacts: Vec<&'static str>,
    pub(crate) env: BTreeMap<String, EnvValue>,
    pub(crate) identity: BTreeMap<String, String>,
    /// More layers of the first image.
    pub(crate) layers: Vec<Vec<LayerPart>>,
    pub(crate) exclude: Vec<PathBuf>,
    pub(crate) no_cache: bool,
    /// Name of the build folder; the project's own if there is none.
    pub(crate) build_folder: Option<String>,
}

/// What came out of one build.
pub(crate) struct Outcome {
    pub(crate) result: Result<Vec<BuiltImage>, EngineError>,
    pub(crate) events: Vec<BuildEvent>,
}

impl Workshop {
    /// A project with the file `source`; `None`, said aloud, where the sandbox is forbidden.
    pub(crate) fn new() -> Option<Self> {
        let project = Project::new();
        project.write("source", "one\n");
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().canonicalize().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        if let Support::Plain { reason } = launcher().support(scratch.path()) {
            carrack_testkit::skipped("a build", &format!("this machine forbids the sandbox: {reason:?}"));
            return None;
        }
        Some(Self { project, state, _state: Some(folder) })
    }

    /// The same state folder with a copy of the project elsewhere.
    pub(crate) fn copy(&self) -> Self {
        Self { project: self.project.copy(), state: self.state.clone(), _state: None }
    }

    /// The path of a file of the project.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.project.path().join(name)
    }

    /// Builds as a process of its own would.
    pub(crate) fn build(&self, recipe: &Recipe) -> Outcome {
        self.build_until(recipe, &Cancel::default(), |_| {})
    }

    /// Builds, and shows every event as it comes.
    pub(crate) fn build_until(
        &self,
        recipe: &Recipe,
        cancel: &Cancel,
        watch: impl Fn(&BuildEvent) + Sync,
    ) -> Outcome {
        let store = Store::open(&self.state).unwrap();
        let _lease = store.lease(&Cancel::default()).unwrap();
        let inputs = Inputs::new(&store, cancel.clone());
        let options = Options { no_cache: recipe.no_cache, ..Options::default() };
        let engine =
            Engine::new(&store, &inputs, launcher(), options).with_tool("shell", std::sync::Arc::new(Shell));
        let events = Mutex::new(Vec::new());
        let sink = |event: BuildEvent| {
            watch(&event);
            events.lock().unwrap().push(event);
        };
        let result = engine.build(&self.graph(recipe), &sink, cancel);
        Outcome { result, events: events.into_inner().unwrap() }
    }

    fn graph(&self, recipe: &Recipe) -> BuildGraph {
        let mut graph = BuildGraph::default();
        let host = self.project.path().to_owned();
        let tree = HostTree { host: host.clone(), name: String::new(), exclude: recipe.exclude.clone() };
        let sources = graph.add(Op::Tree(TreeOp { trees: vec![tree] })).unwrap();
        let id = recipe
            .build_folder
            .clone()
            .unwrap_or_else(|| host.file_name().unwrap().to_str().unwrap().replace('.', "_"));
        let exec = ExecOp {
            name: "Script".to_owned(),
            root: ExecRoot::Host,
            tool: "shell",
            argv: ["/bin/sh", "-ec", &recipe.script].map(str::to_owned).to_vec(),
            env: recipe.env.clone(),
            cwd: PathBuf::from(SOURCE),
            sources,
            build_folder: BuildFolder { id, target: PathBuf::from(TARGET), owner: String::new() },
            mounts: vec![ExecMount::Scratch { source: host, target: PathBuf::from(SOURCE) }],
            identity: recipe.identity.clone(),
            artifacts: recipe.artifacts.iter().map(|name| (*name).to_owned()).collect(),
        };
        let exec = graph.add(Op::Exec(exec)).unwrap();
        let layer = |title, parts| Op::Layer(LayerOp { title, parts, mtime: 0 });
        for (number, artifact) in recipe.artifacts.iter().enumerate() {
            let artifact = (*artifact).to_owned();
            let to = image_path(&format!("/bin/{artifact}"));
            let part = LayerPart::Artifact { exec, artifact: artifact.clone(), to };
            let mut layers = vec![graph.add(layer("binary", vec![part])).unwrap()];
            if number == 0 {
                layers.extend(
                    recipe.layers.iter().map(|parts| graph.add(layer("files", parts.clone())).unwrap()),
                );
            }
            let tags = vec![format!("{artifact}:latest")];
            graph.add(Op::Image(ImageOp { name: artifact, tags, layers, settings: settings() })).unwrap();
        }
        graph
    }

    /// The build folder of the recipe, of which there has to be one.
    pub(crate) fn build_folder(&self) -> PathBuf {
        let folders: Vec<_> = fs::read_dir(self.state.join("targets")).unwrap().collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders[0].as_ref().unwrap().path()
    }

    /// The blobs of the image's layers, lowest first.
    pub(crate) fn layers(&self, image: &BuiltImage) -> Vec<PathBuf> {
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(self.blob(&image.manifest.unwrap())).unwrap()).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        layers.iter().map(|layer| self.blob(&layer["digest"].as_str().unwrap().parse().unwrap())).collect()
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.state.join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex())
    }

    /// What the image's file `path` holds.
    pub(crate) fn content(&self, image: &BuiltImage, path: &str) -> String {
        let found = self.layers(image).into_iter().rev().find_map(|layer| {
            let output = tar(&["-xzOf", layer.to_str().unwrap(), path.trim_start_matches('/')]);
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        });
        found.unwrap_or_else(|| panic!("{path} is in no layer"))
    }
}

/// `mode owner/group size date time name` for each entry of a layer.
pub(crate) fn entries(layer: &Path) -> Vec<String> {
    let output = tar(&["--numeric-owner", "-tvzf", layer.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            format!("{} {} {}", words[0], words[1], words[5..].join(" "))
        })
        .collect()
}

fn tar(arguments: &[&str]) -> std::process::Output {
    Command::new("tar").args(arguments).output().unwrap()
}

/// The sandbox's helper, where Cargo put it or a copy of it.
pub(crate) fn helper() -> PathBuf {
    std::env::var_os(HELPER_VARIABLE)
        .map_or_else(|| env!("CARGO_BIN_EXE_carrack-engine-test-helper").into(), PathBuf::from)
}

pub(crate) fn launcher() -> Launcher {
    Launcher::with_program(helper())
}

pub(crate) fn image_path(text: &str) -> ImagePath {
    ImagePath::new(text).unwrap()
}

/// A file or folder of the host for an image, owned by root, with the modes that it has.
pub(crate) fn added(from: PathBuf, to: &str) -> AddedFile {
    let name = from.file_name().unwrap().to_string_lossy().into_owned();
    AddedFile { from, name, to: image_path(to), mode: None, owner: Owner::default() }
}

fn settings() -> ImageSettings {
    ImageSettings {
        platform: Platform::host(),
        created: 0,
        env: Vec::new(),
        user: "65532:65532".to_owned(),
        workdir: ImagePath::root(),
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        ports: BTreeSet::new(),
        volumes: BTreeSet::new(),
        labels: BTreeMap::new(),
        healthcheck: None,
        stop_signal: None,
    }
}

impl Recipe {
    /// One artifact `app`, made by `script` at `/carrack/target/app`.
    pub(crate) fn new(script: &str) -> Self {
        let path = EnvValue { value: "/usr/bin:/bin".to_owned(), keyed: false };
        Self {
            script: format!("{script}\necho artifact app {TARGET}/app"),
            artifacts: vec!["app"],
            env: BTreeMap::from([("PATH".to_owned(), path)]),
            identity: BTreeMap::new(),
            layers: Vec::new(),
            exclude: Vec::new(),
            no_cache: false,
            build_folder: None,
        }
    }

    pub(crate) fn with_env(mut self, name: &str, value: &str, keyed: bool) -> Self {
        self.env.insert(name.to_owned(), EnvValue { value: value.to_owned(), keyed });
        self
    }

    pub(crate) fn with_layer(mut self, parts: Vec<LayerPart>) -> Self {
        self.layers.push(parts);
        self
    }
}

impl Outcome {
    /// The images; fails the test if there are none.
    #[track_caller]
    pub(crate) fn images(&self) -> &[BuiltImage] {
        match &self.result {
            Ok(images) => images,
            Err(error) => panic!("the build failed: {error:?}"),
        }
    }

    /// Why there are no images; fails the test if there are some.
    #[track_caller]
    pub(crate) fn error(&self) -> &EngineError {
        self.result.as_ref().expect_err("the build should fail")
    }

    /// How often the script ran.
    pub(crate) fn runs(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, BuildEvent::StepStarted { .. })).count()
    }

    /// All reasons that were given, those of the build and those of images.
    pub(crate) fn reasons(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                BuildEvent::Why { reason, .. } => Some(reason.as_str()),
                _ => None,
            })
            .collect()
    }
}
