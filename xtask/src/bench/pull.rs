//! Bringing an image from a registry, against skopeo. The registry is a real one on this machine, so that what the programs
//! themselves do is all that there is to measure.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::dockerfile::{FILES_IN_FOLDER, write_files};
use super::page::{Goal, Row, Section};
use super::stage::{self, Stage};
use super::{in_turns, time};
use crate::cargo::start_failed;

/// The layers, in folders of 10 MB that can't be compressed away: one is large, as in most images.
const LAYERS: [usize; 5] = [20, 12, 9, 6, 3];
const ROUNDS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(20);

/// A registry, for as long as it is kept.
struct Registry {
    server: Child,
    address: String,
}

impl Registry {
    fn start(folder: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the loopback has no free port: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?.to_string();
        drop(listener);
        let configuration = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            folder.join("registry").display()
        );
        let path = folder.join("registry.yml");
        stage::write(&path, &configuration)?;
        // It ends with this program, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "docker-registry", "serve"]).arg(&path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().map_err(|error| start_failed(&command, &error))?;
        let registry = Self { server, address };
        let start = Instant::now();
        while TcpStream::connect(&registry.address).is_err() {
            if start.elapsed() > PATIENCE {
                return Err("docker-registry does not answer".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

pub(super) fn measure(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    for (program, argument) in [("skopeo", "--version"), ("docker-registry", "--version")] {
        if Command::new(program).arg(argument).output().is_err() {
            return Ok(Err(format!("{program} is not installed")));
        }
    }
    let folder = stage.folder.path().join("pull");
    let (files, context, layout, store) =
        (folder.join("files"), folder.join("context"), folder.join("layout"), folder.join("store"));
    write_files(&files, LAYERS.iter().sum::<usize>() * FILES_IN_FOLDER)?;
    // Without the folders' own names: no two files in them have the same.
    let mut dockerfile = "FROM scratch\n".to_owned();
    let mut folders = 0..;
    for count in LAYERS {
        let names: Vec<String> =
            folders.by_ref().take(count).map(|number: usize| number.to_string()).collect();
        dockerfile += &format!("COPY {} /\n", names.join(" "));
    }
    stage::write(&files.join("Dockerfile"), &dockerfile)?;
    let registry = Registry::start(&folder)?;
    let name = format!("{}/measured:1", registry.address);
    let output = |path: &Path| format!("type=oci,tar=false,dest={}", path.display());
    eprintln!("  the image");
    let mut make = stage.carrack(&files);
    make.args(["--file", "Dockerfile", "--quiet", "--tag", "measured:1", "--output", &output(&layout), "."]);
    time(make.env("CARRACK_HOME", &store))?;
    let mut push = Command::new("skopeo");
    push.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
    time(push.arg(format!("oci:{}", layout.display())).arg(format!("docker://{name}")))?;
    fs::create_dir_all(&context).map_err(|error| format!("can't make {}: {error}", context.display()))?;
    stage::write(&context.join("Dockerfile"), &format!("FROM {name}\n"))?;

    // Everybody begins with nothing.
    let gone = |path: &Path| match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("can't remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    };
    let carrack = |further: &[&str]| {
        gone(&store)?;
        gone(&layout)?;
        let mut command = stage.carrack(&context);
        command.args(["--file", "Dockerfile", "--quiet", "--tag", "pulled:1"]).args(further).arg(".");
        time(command.env("CARRACK_HOME", &store))
    };
    let mut skopeo = || {
        gone(&layout)?;
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
        time(command.arg(format!("docker://{name}")).arg(format!("oci:{}:1", layout.display())))
    };
    let output = output(&layout);
    let [theirs, ours, carried] =
        in_turns(ROUNDS, [&mut skopeo, &mut || carrack(&[]), &mut || carrack(&["--output", &output])])?;

    let mut section = Section::new("pull", "Pulling an image of 500 MB");
    section.rows.extend([
        Row::new("`skopeo copy` into an OCI layout", theirs),
        Row::new("`carrack build` of `FROM` that image, into its store", ours),
        Row::new("the same with `--output type=oci,tar=false`: into its store and an OCI layout", carried),
    ]);
    let limit = section.rows[0].median();
    section.goals.push(Goal::at_most("`skopeo copy`", section.rows[1].median(), limit));
    let version = Command::new("skopeo").arg("--version").output();
    let version = version.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    section.notes.push(format!(
        "{}; Debian's docker-registry on this machine, without TLS. Five layers of 200, 120, 90, 60 and 30 MB that can't be \
         compressed; nothing of the image is there before. Every byte is hashed, and on the disk at the end.",
        version.unwrap_or_default()
    ));
    Ok(Ok(section))
}
