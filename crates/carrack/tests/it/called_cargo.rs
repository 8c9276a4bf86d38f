//! Cargo in commands of Dockerfiles: what it finds compiled, what it is kept from taking for fresh, and that no image shows it.
//!
//! All in one state folder, because the base image takes a while to unpack; each test case has a folder of its own for the
//! workspace, so that none finds what another has compiled.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use carrack_testkit::{Finished, Project, rust_files, skipped};
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::{Stage, dockyard_folder, finish};

/// The first stage of every Dockerfile, and the last, which is small: only that one becomes an image.
const BASE: &str = "\
FROM scratch AS base
ADD debian.tar /
COPY rust /
COPY --from=home registry/index /usr/local/cargo/registry/index
COPY --from=home registry/cache /usr/local/cargo/registry/cache
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo CARGO_NET_OFFLINE=true \\
    PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN useradd --create-home dev && mkdir -p /usr/local/rustup/update-hashes /usr/local/rustup/tmp && \\
    chmod -R a+rwX /usr/local/cargo /usr/local/rustup/update-hashes /usr/local/rustup/tmp && chmod a+rwX /usr/local/rustup
";

const RESULT: &str = "FROM scratch\nCOPY --from=build /etc/passwd /\n";

/// Sources that were not changed since.
const LONG_AGO: Duration = Duration::from_secs(1_500_000_000);

/// A state folder, and what the base is made from.
struct Yard {
    stage: Stage,
    files: PathBuf,
    cargo_home: PathBuf,
}

impl Yard {
    /// `None`, and a word about it, where the base can't be made.
    fn new() -> Option<Self> {
        let files = match rust_files(&dockyard_folder()) {
            Ok(files) => files,
            Err(why) => {
                skipped("cargo in commands", &why);
                return None;
            }
        };
        let own = || std::env::home_dir().unwrap().join(".cargo");
        let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(own, PathBuf::from);
        Some(Self { stage: Stage::new(Project::new()), files, cargo_home })
    }

    /// Builds with the project as the context `project`. The stage that counts is called `build`.
    #[track_caller]
    fn build(&self, project: &Project, dockerfile: &str, options: &[&str]) -> Finished {
        self.try_build(project, dockerfile, options).expect_code(0)
    }

    /// The archives of packages that are kept, of those whose names begin so.
    fn kept_archives(&self, name: &str) -> Vec<PathBuf> {
        let mut found = files(&self.stage.home.path().join("mounts"));
        found.retain(|path, _| path.to_string_lossy().contains(&format!("/{name}")));
        found.into_keys().map(|path| self.stage.home.path().join("mounts").join(path)).collect()
    }

    fn try_build(&self, project: &Project, dockerfile: &str, options: &[&str]) -> Finished {
        finish(&mut self.command(project, dockerfile, options))
    }

    /// Builds until `text` is said, and stops the build then.
    fn stop_at(&self, text: &str, project: &Project, dockerfile: &str) -> Finished {
        let mut command = self.command(project, dockerfile, &[]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while lines.read_line(&mut said).unwrap() > 0 && !said.lines().next_back().unwrap().contains(text) {}
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        lines.read_to_string(&mut said).unwrap();
        Finished { code: child.wait().unwrap().code(), stdout: String::new(), stderr: said }
    }

    fn command(&self, project: &Project, dockerfile: &str, options: &[&str]) -> Command {
        let result = if dockerfile.contains("FROM scratch") { "" } else { RESULT };
        self.stage.project.write("Dockerfile", &format!("{BASE}{dockerfile}{result}"));
        let file = self.stage.file("Dockerfile").display().to_string();
        let home = format!("home={}", self.cargo_home.display());
        let project = format!("project={}", project.path().display());
        let arguments = ["build", "-f", &file];
        let contexts = ["--build-context", &home, "--build-context", &project];
        let context = self.files.display().to_string();
        self.stage.command(&[&arguments[..], &contexts, options, &[&context]].concat())
    }
}

/// A package with dependencies from a registry and a text that it prints; its sources are old.
fn package(name: &str, text: &str) -> Project {
    let project = Project::new();
    project.write(
        "Cargo.toml",
        &format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nitoa = \"1\"\n\
             libc = \"0.2\"\n"
        ),
    );
    write_main(&project, text);
    let mut lock = Command::new("cargo");
    finish(lock.args(["generate-lockfile", "--offline"]).current_dir(project.path())).expect_code(0);
    project
}

fn write_main(project: &Project, text: &str) {
    project.write(
        "src/main.rs",
        &format!("fn main() {{\n    println!(\"{text} {{}}\", itoa::Buffer::new().format(7));\n}}\n"),
    );
    let file = File::options().write(true).open(project.path().join("src/main.rs")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + LONG_AGO).unwrap();
}

/// The names of the packages that cargo compiled.
fn compiled(finished: &Finished) -> Vec<String> {
    let lines =
        finished.stderr.lines().filter_map(|line| line.split_once("Compiling ")).map(|(_, rest)| rest);
    let mut names: Vec<String> = lines.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect();
    names.sort();
    names
}

/// Every file below `folder`: mode, owner and content.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder_now) = open.pop() {
        for entry in fs::read_dir(folder_now).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let name = path.strip_prefix(folder).unwrap().to_owned();
            found.insert(name, (metadata.mode(), metadata.uid(), content));
            if metadata.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

#[test]
fn cargo_finds_what_fits_and_nothing_stale() {
    let Some(yard) = Yard::new() else { return };
    another_project_compiles_only_its_own(&yard);
    no_lock_file_is_needed(&yard);
    no_image_shows_it(&yard);
    any_user_may_call_it(&yard);
    programs_are_called_as_ever(&yard);
    downloads_are_shared(&yard);
    another_machine_compiles_only_its_own(&yard);
    jobs_are_shared_unless_their_number_is_said(&yard);
    a_stub_is_replaced(&yard);
    what_lies_there_was_not_compiled(&yard);
    what_a_stopped_build_has_compiled_is_kept(&yard);
    a_branch_in_a_cache_mount_is_noticed(&yard);
    an_older_cargo_ships_nothing_stale_either(&yard);
    two_projects_may_share_a_cache_mount(&yard);
    nothing_waits_for_what_a_command_made(&yard);
    no_link_of_a_command_leads_out(&yard);
}

fn another_project_compiles_only_its_own(yard: &Yard) {
    let dockerfile = |name: &str| {
        format!(
            "FROM base AS build\nWORKDIR /one\nCOPY --from=project . .\nRUN cargo build --release && ./target/release/{name}\n"
        )
    };
    let (first, second) = (package("first", "first"), package("second", "second"));
    let built = yard.build(&first, &dockerfile("first"), &[]);
    assert_eq!(compiled(&built), ["first", "itoa", "libc"]);
    assert!(built.stderr.contains("3 compiled"), "{}", built.stderr);
    let built = yard.build(&second, &dockerfile("second"), &[]);
    assert_eq!(compiled(&built), ["second"]);
    assert!(
        built.stderr.contains("second 7") && built.stderr.contains("2 reused, 1 compiled"),
        "{}",
        built.stderr
    );
    let third = package("third", "third");
    let built = yard.build(&third, &dockerfile("third"), &["--no-cargo-cache"]);
    assert_eq!(compiled(&built), ["itoa", "libc", "third"]);
}

/// `cargo install` does not look at lock files, and leaves none.
fn no_lock_file_is_needed(yard: &Yard) {
    let build = |name: &str, run: &str| {
        let project = package(name, name);
        fs::remove_file(project.path().join("Cargo.lock")).unwrap();
        let dockerfile = format!(
            "FROM base AS build\nWORKDIR /unlocked\nCOPY --from=project . .\nRUN cargo {run}{name}\n"
        );
        yard.build(&project, &dockerfile, &[])
    };
    let first = build("first", "install --path . && ");
    assert_eq!(compiled(&first), ["first", "itoa", "libc"]);
    assert!(first.stderr.contains("first 7") && first.stderr.contains(" 3 compiled"), "{}", first.stderr);
    for (name, run) in [("second", "install --path . && "), ("third", "build --release && target/release/")] {
        let built = build(name, run);
        assert_eq!(compiled(&built), [name]);
        let said = [&format!("{name} 7"), "2 reused, 1 compiled"];
        assert!(said.iter().all(|text| built.stderr.contains(text)), "{}", built.stderr);
    }
}

fn no_image_shows_it(yard: &Yard) {
    let project = package("shown", "shown");
    let dockerfile = "FROM base AS build\nWORKDIR /two\nCOPY --from=project . .\n\
        RUN cargo build --release && cp \"$(rustup which cargo)\" /cargo && chmod 700 \"$(rustup which cargo)\"\n\
        RUN mkdir /all && cp -a target /all/ && rm -f /all/target/.rustc_info.json && cp -a /cargo /all/ && \
        cp -a /usr/local/rustup/toolchains/*/bin/cargo /all/again\n\
        FROM scratch\nCOPY --from=build /all /\nCOPY --from=build /run /run\n";
    yard.build(&project, dockerfile, &[]);
    let mut shown = Vec::new();
    for option in ["--progress=plain", "--no-cargo-cache"] {
        let to = yard.stage.file(option);
        let output = format!("type=local,dest={}", to.display());
        let built = yard.build(&project, dockerfile, &["--no-cache-filter", "build", option, "-o", &output]);
        let expected: &[&str] =
            if option == "--progress=plain" { &["shown"] } else { &["itoa", "libc", "shown"] };
        assert_eq!(compiled(&built), expected);
        shown.push(files(&to));
    }
    let [with, without] = <[_; 2]>::try_from(shown).unwrap();
    let names = |files: &BTreeMap<PathBuf, _>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&with), names(&without));
    for (path, file) in &with {
        assert!(without[path] == *file, "{}", path.display());
    }
    assert!(
        with[Path::new("cargo")].2.starts_with(b"\x7fELF")
            && with[Path::new("again")].2.starts_with(b"\x7fELF")
    );
    assert!(!with.keys().any(|path| path.starts_with("run/carrack")));
}

fn any_user_may_call_it(yard: &Yard) {
    let dockerfile = |name: &str| {
        format!(
            "FROM base AS build\nUSER dev\nWORKDIR /home/dev/{name}\nCOPY --from=project --chown=dev . .\n\
             RUN CARGO_TARGET_DIR=/home/dev/target cargo build && find /home/dev/target ! -user dev && \
             /home/dev/target/debug/{name}\n"
        )
    };
    yard.build(&package("mine", "mine"), &dockerfile("mine"), &[]);
    let built = yard.build(&package("yours", "yours"), &dockerfile("yours"), &[]);
    assert_eq!(compiled(&built), ["yours"]);
    assert!(
        built.stderr.contains("yours 7") && !built.stderr.contains("/home/dev/target/"),
        "{}",
        built.stderr
    );
}

fn programs_are_called_as_ever(yard: &Yard) {
    let project = package("called", "called");
    project.write(
        "src/main.rs",
        "fn main() {\n    let mut line = String::new();\n    std::io::stdin().read_line(&mut line).unwrap();\n    \
         println!(\"{:?} {line:?} {}\", std::env::args().skip(1).collect::<Vec<_>>(), env!(\"CARGO\"));\n    \
         std::process::exit(7);\n}\n",
    );
    let built = yard.build(
        &project,
        "FROM base AS build\nWORKDIR /four\nCOPY --from=project . .\n\
         RUN echo hi | cargo run -q -- 'a  b' \"c'd\" '' '*'; echo \"code $?\"\n\
         RUN cargo test -q; cargo build --bin none; echo \"code $?\"; cargo build -q & cargo check -q & wait; \
         rm -rf /usr/local/rustup /usr/local/cargo && echo removed\n",
        &[],
    );
    let expected = "[\"a  b\", \"c'd\", \"\", \"*\"] \"hi\\n\" /usr/local/rustup/toolchains/";
    assert!(built.stderr.contains(expected) && built.stderr.contains("code 7"), "{}", built.stderr);
    assert!(built.stderr.contains("code 101") && built.stderr.contains("removed"), "{}", built.stderr);
}

/// Without the network, in a CARGO_HOME that has nothing but the index.
fn downloads_are_shared(yard: &Yard) {
    let dockerfile = |name: &str| {
        format!(
            "FROM base AS build\nUSER dev\nENV CARGO_HOME=/home/dev/own\nWORKDIR /home/dev/{name}\n\
             COPY --from=home --chown=dev registry/index /home/dev/own/registry/index\n\
             COPY --from=project --chown=dev . .\nRUN cargo build\n\
             RUN test -z \"$(find /home/dev/own ! -user dev)\" && for file in /home/dev/own/registry/*/*/*; do echo \"there: $file\"; done\n"
        )
    };
    let project = package("loading", "loading");
    // What only another system needs is in the lock file, and downloaded by nobody.
    let manifest = fs::read_to_string(project.path().join("Cargo.toml")).unwrap();
    let manifest = manifest.replace("libc = \"0.2\"", "[target.'cfg(windows)'.dependencies]\nlibc = \"0.2\"");
    project.write("Cargo.toml", &manifest);
    let built = yard.build(&project, &dockerfile("loading"), &[]).stderr;
    let there = |text: &str| built.lines().any(|line| line.contains("there: ") && line.contains(text));
    assert!(there("/cache/index.crates.io-") && there("/itoa-1") && there("/src/"), "{built}");
    assert!(!there("/libc-0"), "{built}");
    // A package that was replaced by somebody is not believed.
    for file in yard.kept_archives("itoa-") {
        fs::write(file, "other").unwrap();
    }
    let refused = yard.try_build(&project, &dockerfile("loading"), &["--no-cache-filter", "build"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("offline"), "{}", refused.stderr);
    assert!(yard.kept_archives("itoa-").is_empty());
}

fn another_machine_compiles_only_its_own(yard: &Yard) {
    let dockerfile = |name: &str| {
        format!(
            "FROM base AS build\nWORKDIR /far\nCOPY --from=project . .\nRUN cargo build && target/debug/{name}\n"
        )
    };
    let shared = tempfile::tempdir().unwrap();
    let place = |attribute: &str| format!("type=local,{attribute}={}", shared.path().join("cache").display());
    yard.build(&package("near", "near"), &dockerfile("near"), &["--cache-to", &place("dest")]);
    let other = Yard {
        stage: Stage::new(Project::new()),
        files: yard.files.clone(),
        cargo_home: yard.cargo_home.clone(),
    };
    let built = other.build(&package("far", "far"), &dockerfile("far"), &["--cache-from", &place("src")]);
    assert_eq!(compiled(&built), ["far"]);
    assert!(
        built.stderr.contains("far 7") && built.stderr.contains("2 reused, 1 compiled"),
        "{}",
        built.stderr
    );
}

fn jobs_are_shared_unless_their_number_is_said(yard: &Yard) {
    let project = package("sharing", "sharing");
    project.write(
        "build.rs",
        "fn main() {\n    let flags = std::env::var(\"CARGO_MAKEFLAGS\").unwrap();\n    \
         let pair = flags.rsplit(\"--jobserver-auth=\").next().unwrap();\n    \
         let file = std::fs::read_link(format!(\"/proc/self/fd/{}\", pair.split(',').next().unwrap())).unwrap();\n    \
         println!(\"cargo::warning=jobs from {}\", file.display());\n}\n",
    );
    let dockerfile =
        |run: &str| format!("FROM base AS build\nWORKDIR /shared\nCOPY --from=project . .\nRUN {run}\n");
    let built = yard.build(&project, &dockerfile("cargo build"), &[]);
    assert!(built.stderr.contains("jobs from /run/carrack/calls/jobs"), "{}", built.stderr);
    for run in ["cargo build -j 1", "CARGO_BUILD_JOBS=1 cargo build", "cargo build --config build.jobs=1"] {
        let built = yard.build(&project, &dockerfile(run), &[]);
        assert!(built.stderr.contains("jobs from pipe:"), "{run}: {}", built.stderr);
        assert!(!built.stderr.contains("ignoring"), "{run}: {}", built.stderr);
    }
}

fn a_stub_is_replaced(yard: &Yard) {
    let dockerfile = "FROM base AS build\nWORKDIR /five\nCOPY --from=project Cargo.toml Cargo.lock ./\n\
        RUN mkdir src && echo 'fn main() { println!(\"stub\"); }' > src/main.rs && cargo build --release\n\
        COPY --from=project src src\nRUN cargo build --release && ./target/release/app\n";
    let built = yard.build(&package("app", "real"), dockerfile, &[]);
    assert!(built.stderr.contains("real 7") && !built.stderr.contains("stub\n"), "{}", built.stderr);
    assert_eq!(compiled(&built), ["app", "app", "itoa", "libc"]);
}

fn what_lies_there_was_not_compiled(yard: &Yard) {
    let project = package("app", "first");
    let dockerfile = "FROM base AS build\nWORKDIR /lying\nCOPY --from=project Cargo.toml Cargo.lock ./\n\
        RUN mkdir src && echo 'fn main() {}' > src/main.rs && cargo build\n\
        COPY --from=project src src\nRUN cargo build && ./target/debug/app\n";
    yard.build(&project, dockerfile, &["--no-cargo-cache"]);
    write_main(&project, "second");
    let built = yard.build(&project, dockerfile, &[]);
    assert_eq!(compiled(&built), ["app"]);
    assert!(built.stderr.contains("second 7") && built.stderr.contains(" 1 compiled"), "{}", built.stderr);
}

fn what_a_stopped_build_has_compiled_is_kept(yard: &Yard) {
    let project = package("stopped", "stopped");
    // Says through cargo's own output that all else is finished, and does not end.
    project.write(
        "build.rs",
        "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
         let marks = std::path::Path::new(&out).ancestors().nth(3).unwrap().join(\".fingerprint\");\n    \
         let done = |name: &str| std::fs::read_dir(&marks).unwrap().flatten()\n        \
         .any(|unit| unit.path().join(format!(\"lib-{name}\")).exists());\n    \
         while !(done(\"itoa\") && done(\"libc\")) {}\n    \
         std::fs::write(format!(\"/proc/{}/fd/2\", std::os::unix::process::parent_id()), \"all else is there\\n\").unwrap();\n    \
         std::thread::sleep(std::time::Duration::from_secs(600));\n}\n",
    );
    let dockerfile = "FROM base AS build\nWORKDIR /stopped\nCOPY --from=project . .\n\
        RUN cargo build && target/debug/stopped\n";
    let stopped = yard.stop_at("all else is there", &project, dockerfile);
    assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
    project.write("build.rs", "fn main() {}\n");
    let built = yard.build(&project, dockerfile, &[]);
    assert_eq!(compiled(&built), ["stopped"]);
    assert!(built.stderr.contains("2 reused, 1 compiled"), "{}", built.stderr);
}

/// A Dockerfile that builds in a cache mount, at `place`.
fn in_a_mount(place: &str) -> String {
    format!(
        "FROM base AS build\nWORKDIR {place}\nCOPY --from=project . .\n\
         RUN --mount=type=cache,target=/target,id=target CARGO_TARGET_DIR=/target cargo build && /target/debug/app\n"
    )
}

fn a_branch_in_a_cache_mount_is_noticed(yard: &Yard) {
    let project = package("app", "main");
    let built = yard.build(&project, &in_a_mount("/six"), &[]);
    assert!(built.stderr.contains("main 7"), "{}", built.stderr);
    for branch in ["feature", "main", "feature"] {
        write_main(&project, branch);
        let built = yard.build(&project, &in_a_mount("/six"), &["--no-cache-filter", "build"]);
        assert!(built.stderr.contains(&format!("{branch} 7")), "{}", built.stderr);
        assert_eq!(compiled(&built), ["app"]);
    }
    let built = yard.build(&project, &in_a_mount("/six"), &["--no-cache-filter", "build"]);
    assert_eq!(compiled(&built), [""; 0], "nothing changed");
}

/// Debian's: years older than any that these tests run with.
fn an_older_cargo_ships_nothing_stale_either(yard: &Yard) {
    let dockerfile = "FROM scratch AS older\nADD debian.tar /\nENV PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
        RUN apt-get update && apt-get install -y --no-install-recommends cargo\nFROM older AS build\nWORKDIR /old\n\
        COPY --from=project . .\nRUN cargo --version && cargo build && target/debug/app\n\
        RUN --mount=type=cache,target=/t,id=old cargo build --target-dir /t && /t/debug/app\n\
        FROM scratch\nCOPY --from=build /etc/passwd /\n";
    let project = Project::new();
    let write = |text: &str| {
        project.write("src/main.rs", &format!("fn main() {{\n    println!(\"{text}\");\n}}\n"));
        let file = File::options().write(true).open(project.path().join("src/main.rs")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + LONG_AGO).unwrap();
    };
    project.write("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    for text in ["main branch", "a feature", "main branch"] {
        write(text);
        let said = yard.build(&project, dockerfile, &["--no-cache-filter", "build"]).stderr;
        assert_eq!(said.matches(&format!("\n{text}\n")).count(), 2, "{said}");
    }
}

fn two_projects_may_share_a_cache_mount(yard: &Yard) {
    let (one, other) = (package("app", "one"), package("app", "other"));
    for (project, text) in [(&one, "one"), (&other, "other"), (&one, "one")] {
        let built = yard.build(project, &in_a_mount("/six"), &["--no-cache-filter", "build"]);
        assert!(built.stderr.contains(&format!("{text} 7")), "{}", built.stderr);
    }
}

/// FIFOs lie where files are read, in places that cargo itself does not look at.
fn nothing_waits_for_what_a_command_made(yard: &Yard) {
    let project = package("held", "held");
    let dockerfile = "FROM base AS build\nWORKDIR /seven\nCOPY --from=project . .\n\
        RUN for place in /var/lib/dpkg/status /var/lib/rpm/Packages /lib/ld-musl-trap.so.1; do \
        mkdir -p ${place%/*} && rm -f $place && mkfifo $place || exit 1; done && cargo build --release\n\
        RUN for file in target/release/.fingerprint/libc-*/*.json target/release/.fingerprint/itoa-*/*.json target/release/deps/itoa-*.d; do \
        rm $file && mkfifo $file && echo trap || exit 1; done && touch src/main.rs && \
        cargo build --release && ./target/release/held\n";
    let command = yard.command(&project, dockerfile, &[]);
    let mut limited = Command::new("timeout");
    limited.args(["--signal=KILL", "300"]).arg(command.get_program()).args(command.get_args());
    limited.current_dir(yard.stage.path());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let built = finish(&mut limited).expect_code(0);
    assert!(built.stderr.contains("held 7") && built.stderr.contains("trap\n"), "{}", built.stderr);
}

/// What is written for the scripts is written nowhere else.
fn no_link_of_a_command_leads_out(yard: &Yard) {
    let project = package("leading", "leading");
    let outside = yard.stage.file("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("taken"), "kept").unwrap();
    let outside_text = outside.display();
    let dockerfile = format!(
        "FROM base AS build\nWORKDIR /eight\nCOPY --from=project . .\n\
         RUN for slot in /run/carrack/calls/talk/*; do ln -s {outside_text}/made $slot/question || exit 1; done && \
         cargo build --release\n\
         RUN cd /run/carrack/calls/talk && \
         for slot in *; do mv $slot away-$slot && ln -s {outside_text} $slot || exit 1; done && \
         for slot in away-*; do echo 'call 999999 0' >$slot/ask; done && sleep 1 && \
         for slot in away-*; do echo free >$slot/ask; done && sleep 1 && echo led\n"
    );
    let built = yard.build(&project, &dockerfile, &[]);
    assert!(built.stderr.contains("led\n"), "{}", built.stderr);
    assert_eq!(compiled(&built), ["itoa", "leading", "libc"], "a script that can't be answered does without");
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["taken"]);
    assert_eq!(fs::read(outside.join("taken")).unwrap(), b"kept");
}
