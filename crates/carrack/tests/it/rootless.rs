//! The whole walk as an ordinary user, in a sandbox of its own and where the machine forbids one.
//!
//! The user sees the toolchain at a place of its own: root's home is closed to others.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use carrack_testkit::{Finished, Project, has_program, rust_files, skipped};

use crate::ordinary::{OrdinaryUser, USER, give_away};
use crate::rustcare::copy_example_to_build_fast;
use crate::stage::{Stage, dockyard_folder, finish, is_root};

/// Where the user finds the toolchain, in a mount namespace of each command's own.
const TOOLCHAIN: &str = "/mnt";

/// A stage that belongs to an ordinary user, and whether namespaces are forbidden there.
struct Ordinary {
    stage: Stage,
    user: OrdinaryUser,
    program: PathBuf,
    namespaces: bool,
}

impl Ordinary {
    /// `None`, with a word about it, if this machine can't show it.
    fn new(what: &str, project: Project, namespaces: bool) -> Option<Self> {
        if !Path::new(TOOLCHAIN).is_dir() {
            skipped(what, &format!("no folder {TOOLCHAIN}"));
            return None;
        }
        let stage = Stage::new(project);
        let program = stage.home.path().join("carrack");
        fs::copy(env!("CARGO_BIN_EXE_carrack"), &program).unwrap();
        let home = stage.home.path().join("home");
        fs::create_dir(&home).unwrap();
        give_away(stage.path());
        give_away(&home);
        match OrdinaryUser::new(stage.home.path()) {
            Ok(user) => Some(Self { stage, user, program, namespaces }),
            Err(why) => {
                skipped(what, why);
                None
            }
        }
    }

    fn home(&self) -> PathBuf {
        self.stage.home.path().join("home")
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap().stdout;
        let sysroot = String::from_utf8(sysroot).unwrap();
        let sysroot = sysroot.trim();
        let mut command = self.user.command("env", &[(Path::new(sysroot), Path::new(TOOLCHAIN))]);
        if !self.namespaces {
            // Whoever is in such a namespace can't make another one.
            let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
            command.args(["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"]);
        }
        command.arg(&self.program).args(arguments).current_dir(self.stage.path()).env_clear();
        let toolchain = if is_root() { TOOLCHAIN } else { sysroot };
        command.env("PATH", format!("{toolchain}/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        command.env("HOME", self.home()).env("CARGO_HOME", self.home().join("cargo"));
        command.env("CARRACK_HOME", self.home().join("state"));
        finish(&mut command)
    }

    fn write(&self, path: &str, text: &str) {
        self.stage.project.write(path, text);
    }
}

fn project() -> Project {
    let project = Project::workspace(&["front", "back"]);
    // A program with the path of a generated file in it, which is absolute.
    project.write(
        "front/build.rs",
        r#"
        fn main() {
            let path = format!("{}/place.rs", std::env::var("OUT_DIR").unwrap());
            std::fs::write(path, "pub fn place() -> &'static str { file!() }").unwrap();
        }
        "#,
    );
    project.write(
        "front/src/main.rs",
        r#"
        include!(concat!(env!("OUT_DIR"), "/place.rs"));
        fn main() {
            println!("front {} {}", shared::NUMBER, place());
            if std::env::args().count() > 1 {
                std::process::exit(7);
            }
        }
        "#,
    );
    project
}

/// An old time, as a version control system or an archive may give to a new file.
fn past() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)
}

#[test]
fn build_run_and_remove() {
    let Some(user) = Ordinary::new("the walk as an ordinary user", project(), true) else { return };
    let before = user.stage.project.inventory();
    let first = user.run(&["build"]).expect_code(0);
    assert!(!first.stderr.contains("warning"), "{}", first.stderr);
    assert_eq!(user.stage.project.inventory(), before);
    assert!(user.run(&["build"]).expect_code(0).stderr.contains("2 images unchanged"));
    let run = user.run(&["run", "front"]).expect_code(0);
    assert!(run.stdout.starts_with("front 1 /carrack/target/release/build/front-"), "{}", run.stdout);
    user.run(&["run", "front", "fail"]).expect_code(7);

    user.write("shared/src/lib.rs", "pub const NUMBER: u32 = 2;\n");
    user.run(&["build"]).expect_code(0);
    assert!(user.run(&["run", "front"]).expect_code(0).stdout.starts_with("front 2 "));
    user.stage.project.write_old("shared/src/lib.rs", "pub const NUMBER: u32 = 3;\n", past());
    user.run(&["build"]).expect_code(0);
    assert!(user.run(&["run", "front"]).expect_code(0).stdout.starts_with("front 3 "));

    let refused = user.run(&["build", "-q", "-o", "type=oci,dest=/images.tar"]).expect_code(3).stderr;
    assert_eq!(
        refused,
        "error: cannot write /images.tar\n  Permission denied (os error 13)\n\
        hint: choose another destination, or make this one writable\n"
    );
    let out = user.home().join("root");
    user.run(&["build", "-p", "front", "-o", out.to_str().unwrap()]).expect_code(0);
    let owner = fs::metadata(out.join("usr/local/bin/front")).unwrap().uid();
    assert_eq!(owner, fs::metadata(user.home()).unwrap().uid());
    user.run(&["rm", "front", "back"]).expect_code(0);
    assert_eq!(user.run(&["images", "-q"]).expect_code(0).stdout, "");
    // Nobody needs root to clean up.
    let mut remove = Command::new("rm");
    if is_root() {
        let id = USER.to_string();
        remove = Command::new("setpriv");
        remove.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", "rm"]);
    }
    finish(remove.arg("-rf").arg(user.home().join("state"))).expect_code(0);
}

/// The program starts again in a namespace of its own, wherever it finds out that it has to.
#[test]
fn compose_says_everything_once() {
    let Some(user) = Ordinary::new("compose as an ordinary user", project(), true) else { return };
    user.write(
        "compose.yaml",
        "name: clinic\nservices:\n  front:\n    build: {context: ., args: {LOST: one}, labels: {of: \"${UNSET}\"}}\n  \
        site:\n    build:\n      dockerfile_inline: \"FROM scratch\\nCOPY Cargo.toml /\\n\"\n      sbom: true\n",
    );
    let told = [
        "the variable UNSET is not set",
        "front: args means nothing to cargo",
        "site: sbom means nothing here",
    ];
    let counts = |said: &Finished| told.map(|warning| said.stderr.matches(warning).count());
    let both = user.run(&["compose", "build"]).expect_code(0);
    assert_eq!(counts(&both), [1, 1, 1], "{}", both.stderr);
    // That its image begins with another one, only the workspace's configuration tells. Nobody has that one.
    user.write("carrack.toml", "base = \"127.0.0.1:1/base\"\n");
    let based = user.run(&["compose", "build", "front"]).expect_code(4);
    assert_eq!(counts(&based), [1, 1, 0], "{}", based.stderr);
}

#[test]
fn the_same_image_as_root_builds() {
    let Some(user) = Ordinary::new("root and an ordinary user build alike", project(), true) else { return };
    let theirs = user.run(&["build", "-q"]).expect_code(0).stdout;
    assert_eq!(user.stage.build(&["-q"]).stdout, theirs);
}

#[test]
fn without_namespaces() {
    let Some(user) = Ordinary::new("a build without namespaces", project(), false) else { return };
    let warning = "warning: this machine forbids the sandbox";
    let first = user.run(&["build"]).expect_code(0);
    assert_eq!(first.stderr.matches(warning).count(), 1, "{}", first.stderr);
    let again = user.run(&["build"]).expect_code(0);
    assert!(
        again.stderr.contains("2 images unchanged") && !again.stderr.contains(warning),
        "{}",
        again.stderr
    );

    let root = user.home().join("root");
    let arguments = ["build", "-q", "-o", root.to_str().unwrap()];
    user.run(&arguments).expect_code(0);
    // Nothing in the program tells where it was compiled.
    let binary = fs::read(root.join("front/usr/local/bin/front")).unwrap();
    let binary = String::from_utf8_lossy(&binary);
    assert!(binary.contains("/carrack/target/release/build/front-"));
    for folder in [user.stage.path(), user.stage.home.path()] {
        let folder = folder.display().to_string();
        assert!(!binary.contains(&folder), "{folder}");
    }

    for (old, number) in [(false, 2), (true, 3), (false, 4), (true, 5)] {
        let text = format!("pub const NUMBER: u32 = {number};\n");
        if old {
            user.stage.project.write_old("shared/src/lib.rs", &text, past());
        } else {
            user.write("shared/src/lib.rs", &text);
        }
        let built = user.run(&["build"]).expect_code(0);
        assert_eq!(built.stderr.matches(warning).count(), 1, "{}", built.stderr);
        user.run(&arguments).expect_code(0);
        if cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
            let mut command = Command::new(root.join("back/lib64/ld-linux-x86-64.so.2"));
            command.arg("--library-path").arg(root.join("back/usr/lib/x86_64-linux-gnu"));
            let said = finish(command.arg(root.join("back/usr/local/bin/back"))).expect_code(0);
            assert_eq!(said.stdout, format!("back {number}\n"));
        }
    }
    // Running an image takes what is forbidden here.
    let refused = user.run(&["run", "back"]).expect_code(3).stderr;
    assert!(
        refused.starts_with("error: cannot start the sandboxed command\n  create the sandbox's namespaces\n"),
        "{refused}"
    );
    assert!(refused.contains("\nhint: allow unprivileged user namespaces"), "{refused}");
    assert_eq!(
        fs::metadata(user.home().join("state")).unwrap().uid(),
        fs::metadata(user.home()).unwrap().uid()
    );
}

/// The base images, in place of Docker's official ones of these names.
const BASES: [(&str, &str); 2] = [
    (
        "rust:1.95-slim-bookworm",
        "FROM scratch\nADD debian.tar /\nCOPY rust /\nENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo \\\n\
        PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
    ),
    ("debian:bookworm-slim", "FROM scratch\nADD debian.tar /\nCMD [\"bash\"]\n"),
];

/// As many begin: everything is copied, everything is compiled.
const NAIVE: &str = "\
FROM rust:1.95-slim-bookworm AS build
WORKDIR /app
COPY . .
RUN cargo build --release --locked --bin ops-cli
FROM debian:bookworm-slim
RUN useradd --uid 1001 --create-home clinic
COPY --from=build /app/target/release/ops-cli /usr/local/bin/
USER clinic
WORKDIR /home/clinic
CMD [\"ops-cli\"]
";

/// Two Dockerfiles for the example as people write them, with several owners in their images, by somebody who is nobody's
/// root.
#[test]
fn dockerfiles_of_a_real_workspace() {
    let what = "Dockerfiles as an ordinary user";
    if !has_program("newuidmap") {
        return skipped(what, "uidmap is not installed");
    }
    let files = match rust_files(&dockyard_folder()) {
        Ok(files) => files.display().to_string(),
        Err(why) => return skipped(what, &why),
    };
    let project = Project::new();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    copy_example_to_build_fast(project.path());
    fs::copy(repository.join("benches/docker/guide.Dockerfile"), project.path().join("Dockerfile.guide"))
        .unwrap();
    project.write("Dockerfile.naive", NAIVE);
    project.write("Dockerfile.base", "");
    let Some(user) = Ordinary::new(what, project, true) else { return };
    for (name, text) in BASES {
        user.write("Dockerfile.base", text);
        user.run(&["build", "-f", "Dockerfile.base", "-t", name, &files]).expect_code(0);
    }
    for (file, tag) in [("Dockerfile.naive", "naive"), ("Dockerfile.guide", "guide")] {
        let build = ["build", "-f", file, "-t", tag];
        let first = user.run(&build).expect_code(0);
        assert!(first.stderr.contains("1 image built"), "{}", first.stderr);
        assert!(!first.stderr.contains("warning: there are no subordinate ids"), "{}", first.stderr);
        let again = user.run(&build).expect_code(0);
        assert!(again.stderr.contains("1 image unchanged"), "{}", again.stderr);
        assert_eq!(user.run(&["run", tag, "ops-cli", "--version"]).expect_code(0).stdout, "ops-cli 0.3.0\n");
    }
}
