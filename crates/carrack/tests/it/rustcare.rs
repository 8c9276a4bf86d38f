//! The example workspace, as a team would have it: its images run, are small, and pay only for what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use carrack_testkit::{Finished, Program, ask};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const SERVICES: [&str; 3] = ["ops-cli", "rustcare-server", "rustcare-sync"];

/// The example with a store of its own, built once by the first test that needs it.
pub(crate) struct Rustcare {
    pub(crate) workspace: PathBuf,
    pub(crate) home: PathBuf,
    /// Held by whoever builds: a build sees the edits of another test.
    building: Mutex<()>,
    /// Another run of these tests with the same target folder waits here.
    _alone: File,
}

/// What a build said.
pub(crate) struct Built {
    events: Vec<Value>,
}

/// An image that `carrack run` runs as a server.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
    /// The log up to the line with the address.
    said: String,
    address: String,
}

impl Rustcare {
    /// The built example.
    pub(crate) fn get() -> &'static Self {
        static BUILT: OnceLock<Rustcare> = OnceLock::new();
        BUILT.get_or_init(|| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rustcare");
            fs::create_dir_all(&folder).unwrap();
            let alone = File::create(folder.join("lock")).unwrap();
            alone.lock().unwrap();
            let rustcare = Self {
                workspace: folder.join("rustcare"),
                home: folder.join("home"),
                building: Mutex::new(()),
                _alone: alone,
            };
            for old in [&rustcare.workspace, &rustcare.home] {
                // The first run has none.
                let _ = fs::remove_dir_all(old);
            }
            copy_example(&rustcare.workspace);
            let built = rustcare.build(&[]);
            assert_eq!(built.images().keys().collect::<Vec<_>>(), SERVICES);
            rustcare
        })
    }

    /// Carrack with this store.
    pub(crate) fn program(&self) -> Program {
        Program::new(env!("CARGO_BIN_EXE_carrack")).with_env("CARRACK_HOME", &self.home)
    }

    /// No other test builds, or changes a file, as long as the guard is held.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(&self, arguments: &[&str]) -> Built {
        let arguments = [&["build", "--progress", "rawjson"], arguments].concat();
        Built::read(&self.program().run(&self.workspace, &arguments).expect_code(0))
    }

    /// Replaces `from`, which is there once, and gives back the file as it was.
    fn edit(&self, path: &str, from: &str, to: &str) -> String {
        let path = self.workspace.join(path);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from} in {}", path.display());
        fs::write(&path, text.replace(from, to)).unwrap();
        text
    }

    /// The layers' digests of every service's image, bottom first.
    fn layers(&self) -> BTreeMap<String, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        let metadata = folder.path().join("metadata.json");
        let output = format!("type=oci,tar=false,dest={}", layout.display());
        let built = self.build(&["-o", &output, "--metadata-file", metadata.to_str().unwrap()]);
        assert_eq!(built.steps(), 0, "writing what was built builds nothing");
        let blob = |digest: &Value| {
            let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
            json(&fs::read(layout.join("blobs/sha256").join(hex)).unwrap())
        };
        let metadata = json(&fs::read(metadata).unwrap());
        let images = metadata.as_object().unwrap().iter();
        images
            .map(|(name, image)| {
                let manifest = blob(&image["containerimage.digest"]);
                let layers = manifest["layers"].as_array().unwrap().iter();
                (name.clone(), layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect())
            })
            .collect()
    }

    fn run_image(&self, arguments: &[&str]) -> Finished {
        self.program().run(&self.workspace, &[&["run"], arguments].concat())
    }

    fn start_server(&self) -> Running {
        let arguments = ["run", "-e", "RUSTCARE_LISTEN=127.0.0.1:0", "rustcare-server"];
        let mut child = self.program().start(&self.workspace, &arguments);
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let start = said.len();
            assert!(log.read_line(&mut said).unwrap() > 0, "the server ended before it listened:\n{said}");
            let line: Value = serde_json::from_str(&said[start..]).unwrap_or_default();
            if let Some(address) = line["address"].as_str() {
                break address.to_owned();
            }
        };
        Running { child, log, said, address }
    }
}

impl Built {
    fn read(finished: &Finished) -> Self {
        let events = finished.stderr.lines().map(|line| json(line.as_bytes())).collect();
        Self { events }
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |event| event["event"] == kind)
    }

    /// How many steps were started.
    pub(crate) fn steps(&self) -> usize {
        self.of_kind("step-started").count()
    }

    /// What was compiled: `package target`.
    fn compiled(&self) -> Vec<String> {
        let compiled = self.of_kind("unit").filter(|unit| unit["fresh"] == false);
        let name = |unit: &Value| {
            let package = unit["package"].as_str().unwrap().split(' ').next().unwrap().to_owned();
            format!("{package} {}", unit["target"].as_str().unwrap())
        };
        compiled.map(name).collect()
    }

    fn compiled_packages(&self) -> BTreeSet<String> {
        self.compiled().iter().map(|unit| unit.split(' ').next().unwrap().to_owned()).collect()
    }

    /// Name without tag → new layers, for images that are not what they were.
    fn images(&self) -> BTreeMap<String, u64> {
        let changed = self.of_kind("image").filter(|image| image["unchanged"] == false);
        let name = |image: &Value| image["image"].as_str().unwrap().split(':').next().unwrap().to_owned();
        changed.map(|image| (name(image), image["new-layers"].as_u64().unwrap())).collect()
    }

    fn reasons(&self) -> Vec<&str> {
        self.of_kind("why").map(|why| why["reason"].as_str().unwrap()).collect()
    }
}

impl Running {
    /// The user of the server's process, as the image sees it.
    fn user_inside(&self) -> u32 {
        let server = descendants(self.child.id())
            .into_iter()
            .find(|process| {
                fs::read(format!("/proc/{process}/cmdline"))
                    .is_ok_and(|line| line.starts_with(b"/usr/local/bin/rustcare-server"))
            })
            .expect("the server is a process below carrack");
        let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        let outside: u32 = line.split_whitespace().next().unwrap().parse().unwrap();
        let map = fs::read_to_string(format!("/proc/{server}/uid_map")).unwrap();
        map.lines()
            .find_map(|line| {
                let [inside, start, count] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                    return None;
                };
                let (inside, start, count): (u32, u32, u32) =
                    (inside.parse().ok()?, start.parse().ok()?, count.parse().ok()?);
                let offset = outside.checked_sub(start).filter(|offset| *offset < count)?;
                Some(inside + offset)
            })
            .expect("the user is in the map")
    }

    /// Sends a signal and waits: the exit code and the rest of the log.
    fn stop(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if the process has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

/// Everything but what cargo or an editor left beside the sources.
/// Copies the example's sources.
pub(crate) fn copy_example(to: &Path) {
    copy_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rustcare"), to);
}

/// Copies the example's sources, with a release profile that does not optimise: for tests that build all of it, and don't
/// look at the programs' size or speed.
pub(crate) fn copy_example_to_build_fast(to: &Path) {
    copy_example(to);
    let mut manifest = File::options().append(true).open(to.join("Cargo.toml")).unwrap();
    manifest.write_all(b"\n[profile.release]\nopt-level = 0\n").unwrap();
}

fn copy_sources(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if !entry.file_type().unwrap().is_dir() {
            fs::copy(entry.path(), target).unwrap();
        } else if entry.file_name() != "target" {
            copy_sources(&entry.path(), &target);
        }
    }
}

fn descendants(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    found
}

/// The files that `ldd` says a program loads, links followed.
fn needed_libraries(binary: &Path) -> BTreeSet<PathBuf> {
    let output = Command::new("ldd").arg(binary).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
    text.lines().filter_map(path).map(|path| fs::canonicalize(path).unwrap()).collect()
}

/// The size of a folder's content in an archive that is not compressed: a block for each entry, and whole blocks.
fn size_as_tar(folder: &Path) -> u64 {
    const BLOCK: u64 = 512;
    let size = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        let content = if metadata.is_dir() {
            size_as_tar(&entry.path())
        } else {
            metadata.len().next_multiple_of(BLOCK)
        };
        BLOCK + content
    };
    fs::read_dir(folder).unwrap().map(|entry| size(entry.unwrap())).sum()
}

#[test]
fn the_server_answers_as_an_ordinary_user_and_ends_on_sigterm() {
    let server = Rustcare::get().start_server();
    let health = ask(&server.address, "GET /health", None).unwrap();
    assert_eq!((health.status, &json(health.body.as_bytes())["healthy"]), (200, &Value::Bool(true)));
    assert_ne!(server.user_inside(), 0);

    let ada = r#"{"name": "Ada Lovelace", "birth_date": "1990-12-10"}"#;
    let created = ask(&server.address, "POST /patients", Some(ada)).unwrap();
    assert_eq!(created.status, 201, "{}", created.body);
    let id = json(created.body.as_bytes())["id"].as_str().unwrap().to_owned();
    let shown = ask(&server.address, &format!("GET /patients/{id}"), None).unwrap();
    assert_eq!((shown.status, &shown.body), (200, &created.body));
    let refused = ask(&server.address, "POST /patients", Some(r#"{"name": "", "birth_date": "x"}"#)).unwrap();
    assert_eq!(refused.status, 422, "{}", refused.body);

    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("SIGTERM") && log.contains("done"), "{log}");
}

#[test]
fn the_second_service_takes_its_snapshot_from_the_first() {
    let rustcare = Rustcare::get();
    let server = rustcare.start_server();
    let address = format!("RUSTCARE_SYNC_SERVER=http://{}", server.address);
    let arguments = ["-e", &address, "rustcare-sync", "--", "--once"];
    rustcare.run_image(&arguments).expect_code(0).expect_stderr("snapshot taken");
    let (code, log) = server.stop(Signal::INT);
    assert_eq!(code, Some(0), "{log}");
    rustcare.run_image(&arguments).expect_code(1).expect_stderr(&address["RUSTCARE_SYNC_SERVER=".len()..]);
}

#[test]
fn the_tool_finds_the_migrations_in_its_image() {
    let rustcare = Rustcare::get();
    let migrated = rustcare.run_image(&["ops-cli", "--", "migrate"]).expect_code(0);
    assert!(migrated.stdout.ends_with("schema version 3\n"), "{}", migrated.stdout);
    let arguments = ["ops-cli", "--", "migrate", "--migrations", "/nonexistent"];
    rustcare.run_image(&arguments).expect_code(1).expect_stderr("/nonexistent");
    rustcare.run_image(&["ops-cli", "--", "no-such-command"]).expect_code(2);
}

#[test]
fn an_image_holds_the_binary_its_libraries_the_files_and_little_else() {
    let rustcare = Rustcare::get();
    let _alone = rustcare.alone();
    let folder = tempfile::tempdir().unwrap();
    let output = format!("type=local,dest={}", folder.path().display());
    assert_eq!(rustcare.build(&["-o", &output]).steps(), 0);
    let root = folder.path().join("rustcare-server");

    for folder in ["config", "migrations"] {
        let source = rustcare.workspace.join(folder);
        let names: Vec<_> = fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        for name in names {
            let inside = root.join("app").join(folder).join(&name);
            assert_eq!(
                fs::read(inside).unwrap(),
                fs::read(source.join(&name)).unwrap(),
                "{}",
                name.display()
            );
        }
        let count = |folder: PathBuf| fs::read_dir(folder).unwrap().count();
        assert_eq!(count(root.join("app").join(folder)), count(source));
    }

    let binary = root.join("usr/local/bin/rustcare-server");
    let libraries = needed_libraries(&binary);
    assert!(libraries.iter().any(|path| path.ends_with("libc.so.6")), "{libraries:?}");
    let sizes = libraries.iter().chain([&binary]).map(|path| path.metadata().unwrap().len());
    let limit = sizes.sum::<u64>() + (1 << 20);
    let whole = size_as_tar(&root);
    assert!(whole <= limit, "{whole} bytes, {limit} are allowed");
}

#[test]
fn an_edit_costs_what_depends_on_it() {
    let rustcare = Rustcare::get();
    let _alone = rustcare.alone();
    assert_eq!(rustcare.build(&[]).steps(), 0, "nothing has changed");
    let before = rustcare.layers();

    let main = rustcare.edit("server/src/main.rs", "\"database ready\"", "\"database is ready\"");
    let built = rustcare.build(&[]);
    assert_eq!(built.compiled(), ["rustcare-server rustcare-server"]);
    assert_eq!(built.images(), BTreeMap::from([("rustcare-server".to_owned(), 1)]));
    assert_eq!(built.reasons(), ["server/src/main.rs changed"]);
    let after = rustcare.layers();
    for service in SERVICES {
        let pairs = before[service].iter().zip(&after[service]);
        let changed = pairs.filter(|(before, after)| before != after).count();
        assert_eq!(before[service].len(), after[service].len());
        assert_eq!(changed, usize::from(service == "rustcare-server"), "{service}");
    }
    let server = rustcare.start_server();
    assert!(server.said.contains("database is ready"), "{}", server.said);
    drop(server);

    let expected = "one line of 1 to 200 characters";
    let patient =
        rustcare.edit("crates/rustcare-core/src/patient.rs", expected, "a name that fits on a line");
    let built = rustcare.build(&[]);
    let dependents = [
        "ops-cli",
        "rustcare-api-types",
        "rustcare-core",
        "rustcare-server",
        "rustcare-storage",
        "rustcare-sync",
    ];
    assert_eq!(built.compiled_packages(), dependents.map(str::to_owned).into());
    assert_eq!(built.images().get("rustcare-server"), Some(&1));
    let server = rustcare.start_server();
    let nameless = r#"{"name": "", "birth_date": "1990-12-10"}"#;
    let refused = ask(&server.address, "POST /patients", Some(nameless)).unwrap();
    assert!(refused.body.contains("a name that fits on a line"), "{}", refused.body);
    drop(server);

    fs::write(rustcare.workspace.join("server/src/main.rs"), main).unwrap();
    fs::write(rustcare.workspace.join("crates/rustcare-core/src/patient.rs"), patient).unwrap();
    rustcare.build(&[]);
    assert_eq!(rustcare.layers(), before, "the same sources are the same image");
}
