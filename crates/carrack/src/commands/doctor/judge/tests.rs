//! Judgement tables. What programs say was recorded from Docker 20.10.24 and 28.2.2, docker-compose 1.29.2 and Podman
//! 4.3.1, and shortened.

mod docker;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use carrack_cargo::toolchain::{ChosenBy, Toolchain, ToolchainError, ToolchainFile};
use carrack_sandbox::{SandboxError, Support};
use carrack_store::StoreError;

use super::judge;
use crate::commands::doctor::facts::{
    Answer, Client, DockerFacts, Facts, Linker, Member, Mount, NetworkFacts, Place, PlaceKind, RustFacts,
    SandboxFacts, StateFolder, Tool, Unread, WorkspaceFacts,
};
use crate::commands::doctor::finding::{Check, Finding, State};
use crate::engine::EngineName;

fn said(stdout: &str) -> Answer {
    Answer::Said { success: true, stdout: stdout.to_owned(), stderr: String::new() }
}

fn refused(stdout: &str, stderr: &str) -> Answer {
    Answer::Said { success: false, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

/// A machine on which everything is as it should be.
fn healthy() -> Facts {
    let toolchain = Toolchain {
        cargo: "/home/ada/.rustup/toolchains/1.95.0/bin/cargo".into(),
        rustc: "/home/ada/.rustup/toolchains/1.95.0/bin/rustc".into(),
        folder: Some("/home/ada/.rustup/toolchains/1.95.0".into()),
        name: Some("1.95.0".to_owned()),
        inputs: Vec::new(),
    };
    let member = |name: &str| Member { name: name.to_owned(), rust_version: Some("1.95".to_owned()) };
    let place = |kind, path: &str| Place {
        kind,
        path: path.into(),
        device: 1,
        free: 100_000_000_000,
        inodes: Some(10_000_000),
        mount: Some(Mount { file_system: "ext4".to_owned(), noexec: false }),
    };
    Facts {
        is_root: false,
        user: "ada".to_owned(),
        rust: Some(RustFacts {
            toolchain: Ok(toolchain),
            rustc: Some(said(
                "rustc 1.95.0 (x 2026-01-01)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n",
            )),
            targets: Some(BTreeSet::from(["x86_64-unknown-linux-gnu".to_owned()])),
            chosen_by_variable: false,
            linker: Linker { cc: Some("/usr/bin/cc".into()), ld: true, start_code: true, configured: false },
            workspace: Some(WorkspaceFacts {
                path: "/work".into(),
                members: Some(Ok(vec![member("server"), member("sync")])),
                toolchain_file: Some(("/work/rust-toolchain.toml".into(), Ok(asking_for("1.95.0")))),
                engine: None,
                target: None,
            }),
        }),
        sandbox: Some(SandboxFacts {
            support: Some(Support::Isolated),
            userns_clone: None,
            max_user_namespaces: Some(96_365),
            apparmor_restricts: None,
            in_container: false,
            subordinate_ids: true,
            newuidmap: true,
        }),
        docker: Some(DockerFacts {
            clients: vec![new_client("/usr/bin/docker", "28.5.2", &["buildx", "compose"])],
            endpoint: Some("unix:///var/run/docker.sock".to_owned()),
            ..DockerFacts::default()
        }),
        state: Some(StateFolder::Open { path: "/home/ada/.cache/carrack".into() }),
        places: Some(vec![
            place(PlaceKind::State, "/home/ada/.cache/carrack"),
            place(PlaceKind::Workspace, "/work"),
            place(PlaceKind::Target, "/work/target"),
            place(PlaceKind::Docker, "/var/lib/docker"),
        ]),
        network: Some(NetworkFacts::default()),
    }
}

fn docker(facts: &mut Facts) -> &mut DockerFacts {
    facts.docker.as_mut().unwrap()
}

fn asking_for(channel: &str) -> ToolchainFile {
    ToolchainFile { channel: Some(channel.to_owned()), targets: Vec::new() }
}

/// What a client says that has a daemon of `daemon`.
fn client(path: &str, version: &str, plugins: &[&str], daemon: &str) -> Client {
    let listed: Vec<String> = plugins
        .iter()
        .map(|name| format!(r#"{{"SchemaVersion":"0.1.0","Version":"0.29.1","Name":"{name}"}}"#))
        .collect();
    let own = format!(r#""ClientInfo":{{"Debug":false,"Plugins":[{}]}}"#, listed.join(","));
    let server = format!(r#"{{"Version":"{daemon}","ApiVersion":"1.41","MinAPIVersion":"1.12"}}"#);
    Client {
        path: path.into(),
        name: said(&format!("Docker version {version}, build 297e128\n")),
        plugins: refused(&format!(r#"{{"ServerErrors":["Cannot connect"],{own}}}"#), ""),
        version: said(&format!(
            r#"{{"Client":{{"Version":"{version}","ApiVersion":"1.41"}},"Server":{server}}}"#
        )),
        info: said(&format!(r#"{{"Driver":"overlay2","DockerRootDir":"/var/lib/docker",{own}}}"#)),
    }
}

fn new_client(path: &str, version: &str, plugins: &[&str]) -> Client {
    client(path, version, plugins, version)
}

fn old_client() -> Client {
    client("/usr/bin/docker", "20.10.24+dfsg1", &[], "20.10.24+dfsg1")
}

/// The findings about `check`, which has to be `state`; one of them has `what` and `hint` in it.
#[track_caller]
fn check(facts: &Facts, engine: &EngineName, check: Check, state: State, what: &str, hint: &str) {
    let all = judge(facts, engine);
    let found: Vec<&Finding> = all.iter().filter(|finding| finding.check == check).collect();
    let fits = |finding: &&&Finding| {
        let given = finding.hint.as_deref().unwrap_or_default();
        finding.state == state
            && finding.what.contains(what)
            && given.contains(hint)
            && hint.is_empty() == given.is_empty()
    };
    assert!(found.iter().any(|finding| fits(&finding)), "expected {state:?} {what:?} {hint:?} in {found:#?}");
}

#[track_caller]
fn expect(facts: &Facts, what: (Check, State, &str, &str)) {
    check(facts, &EngineName::Embedded, what.0, what.1, what.2, what.3);
}

fn states(facts: &Facts, engine: &EngineName, wanted: State) -> Vec<&'static str> {
    let findings = judge(facts, engine);
    findings.iter().filter(|finding| finding.state == wanted).map(|finding| finding.check.name()).collect()
}

#[test]
fn a_healthy_machine_has_nothing_to_mend() {
    for engine in [&EngineName::Embedded, &EngineName::Docker] {
        let findings = judge(&healthy(), engine);
        for finding in &findings {
            assert_eq!((finding.state, &finding.hint), (State::Ok, &None), "{finding:?}");
        }
        assert!(findings.len() >= 15, "{findings:#?}");
    }
}

#[test]
fn whatever_is_wrong_comes_with_a_command() {
    let mut facts = healthy();
    facts.docker = Some(DockerFacts::default());
    facts.state = Some(StateFolder::Absent { path: "/a/b".into(), above: "/a".into(), writable: false });
    let rust = facts.rust.as_mut().unwrap();
    rust.toolchain = Err(ToolchainError::NotInPath { program: "cargo".to_owned() });
    rust.linker = Linker::default();
    for finding in judge(&facts, &EngineName::Docker).iter().filter(|finding| finding.state > State::Note) {
        assert!(finding.hint.is_some(), "{finding:?}");
    }
}

#[test]
fn toolchains() {
    let with = |change: &dyn Fn(&mut RustFacts)| {
        let mut facts = healthy();
        change(facts.rust.as_mut().unwrap());
        facts
    };
    let broken = |what, hint| (Check::Toolchain, State::Broken, what, hint);
    let none = with(&|rust| {
        rust.toolchain = Err(ToolchainError::NotInPath { program: "cargo".to_owned() });
        rust.rustc = None;
        rust.workspace.as_mut().unwrap().members = None;
    });
    expect(&none, broken("cannot find cargo in PATH", "https://sh.rustup.rs"));
    assert!(!judge(&none, &EngineName::Embedded).iter().any(|finding| finding.check == Check::Workspace));
    let missing = with(&|rust| {
        rust.toolchain = Err(ToolchainError::NotInstalled {
            channel: "1.99".to_owned(),
            chosen_by: ChosenBy::Default,
            rustup_home: "/home/ada/.rustup".into(),
        });
    });
    expect(&missing, broken("cannot find toolchain 1.99", "rustup toolchain install 1.99"));
    let no_default = with(&|rust| {
        rust.toolchain = Err(ToolchainError::NoDefault { rustup_home: "/home/ada/.rustup".into() })
    });
    expect(&no_default, broken("no default", "rustup default stable"));
    expect(
        &with(&|rust| rust.rustc = Some(Answer::Silent)),
        broken("does not say its version: no answer", "rustup"),
    );
}

#[test]
fn the_toolchain_file_is_compared_with_what_runs() {
    let release_and_file = |channel: &str, by_variable| {
        let mut facts = healthy();
        let rust = facts.rust.as_mut().unwrap();
        rust.chosen_by_variable = by_variable;
        rust.workspace.as_mut().unwrap().toolchain_file =
            Some(("/work/rust-toolchain.toml".into(), Ok(asking_for(channel))));
        facts
    };
    let finding = |state, what, hint| (Check::RustToolchainFile, state, what, hint);
    for fits in ["1.95.0", "1.95", "stable", "1.95.0-x86_64-unknown-linux-gnu", "our-own"] {
        expect(&release_and_file(fits, false), finding(State::Ok, "and gets it", ""));
    }
    for other in ["1.80.1", "1.9", "nightly-2026-01-01", "beta"] {
        expect(&release_and_file(other, false), finding(State::Warning, "not rustup's", "sh.rustup.rs"));
    }
    expect(&release_and_file("1.80.1", true), finding(State::Warning, "overrules", "unset RUSTUP_TOOLCHAIN"));
}

#[test]
fn workspaces() {
    let with = |members: Result<Vec<Member>, Unread>| {
        let mut facts = healthy();
        facts.rust.as_mut().unwrap().workspace.as_mut().unwrap().members = Some(members);
        facts
    };
    let broken = |what, hint| (Check::Workspace, State::Broken, what, hint);
    let words = || "read /work: Permission denied".to_owned();
    expect(&with(Err(Unread::Locate(words()))), broken("Permission denied", ""));
    expect(&with(Err(Unread::Cargo(words()))), broken("cargo refuses it", "cargo metadata"));
    expect(&with(Err(Unread::Configuration(words()))), broken("cannot read", "carrack build"));
    let newest = Member { name: "sync".to_owned(), rust_version: Some("1.100".to_owned()) };
    let older = Member { name: "server".to_owned(), rust_version: Some("1.9".to_owned()) };
    expect(
        &with(Ok(vec![older.clone(), newest])),
        (Check::RustVersion, State::Broken, "sync needs Rust 1.100, rustc is 1.95.0", "rustup update"),
    );
    expect(&with(Ok(vec![older])), (Check::RustVersion, State::Ok, "1.9 is asked for", ""));
}

#[test]
fn linkers() {
    let with = |linker: Linker| {
        let mut facts = healthy();
        facts.rust.as_mut().unwrap().linker = linker;
        facts
    };
    let cc = || Some(PathBuf::from("/usr/bin/cc"));
    let broken = |what| (Check::Linker, State::Broken, what, "sudo apt-get install gcc libc6-dev");
    expect(&with(Linker::default()), broken("no `cc`"));
    expect(&with(Linker { cc: cc(), start_code: true, ..Linker::default() }), broken("no `ld`"));
    expect(&with(Linker { cc: cc(), ld: true, ..Linker::default() }), broken("crt1.o"));
    let own = with(Linker { configured: true, ..Linker::default() });
    expect(&own, (Check::Linker, State::Ok, "linker of your own", ""));
}

#[test]
fn targets() {
    let mut facts = healthy();
    let workspace = facts.rust.as_mut().unwrap().workspace.as_mut().unwrap();
    workspace.target = Some("x86_64-unknown-linux-musl".to_owned());
    let file = ToolchainFile { targets: vec!["wasm32-wasip1".to_owned()], ..asking_for("1.95.0") };
    workspace.toolchain_file = Some(("/work/rust-toolchain.toml".into(), Ok(file)));
    let musl = "rustup target add x86_64-unknown-linux-musl";
    expect(&facts, (Check::Target, State::Broken, "x86_64-unknown-linux-musl", musl));
    expect(&facts, (Check::Target, State::Warning, "wasm32-wasip1", "rustup target add wasm32-wasip1"));
    let installed = facts.rust.as_mut().unwrap().targets.as_mut().unwrap();
    installed.insert("x86_64-unknown-linux-musl".to_owned());
    expect(&facts, (Check::Target, State::Ok, "x86_64-unknown-linux-musl has", ""));
}

#[test]
fn sandboxes() {
    let refused =
        || Support::Plain { reason: SandboxError::Namespaces { source: io::Error::from_raw_os_error(1) } };
    let with = |change: &dyn Fn(&mut SandboxFacts)| {
        let mut facts = healthy();
        let sandbox = facts.sandbox.as_mut().unwrap();
        sandbox.support = Some(refused());
        change(sandbox);
        facts
    };
    let warning = |what, hint| (Check::Namespaces, State::Warning, what, hint);
    let none = with(&|sandbox| sandbox.max_user_namespaces = Some(0));
    expect(&none, warning("max_user_namespaces is 0", "sudo sysctl -w user.max_user_namespaces=15000"));
    let debian = with(&|sandbox| sandbox.userns_clone = Some(0));
    expect(&debian, warning("userns_clone is 0", "kernel.unprivileged_userns_clone=1"));
    let ubuntu = with(&|sandbox| sandbox.apparmor_restricts = Some(1));
    expect(&ubuntu, warning("apparmor", "kernel.apparmor_restrict_unprivileged_userns=0"));
    let mut container = with(&|sandbox| {
        sandbox.in_container = true;
        sandbox.apparmor_restricts = Some(1);
    });
    container.is_root = true;
    expect(&container, warning("this container forbids them", "docker run --security-opt"));
    let no_overlay = with(&|sandbox| {
        sandbox.support = Some(Support::Plain {
            reason: SandboxError::Mount {
                call: "mount overlay on".to_owned(),
                path: "/tmp/probe".into(),
                source: io::Error::from_raw_os_error(22),
            },
        });
    });
    expect(&no_overlay, (Check::Overlay, State::Warning, "Invalid argument", "CARRACK_HOME"));
    let nowhere = with(&|sandbox| sandbox.support = None);
    expect(&nowhere, (Check::Namespaces, State::Note, "not tried", ""));
}

#[test]
fn subordinate_ids() {
    let with = |newuidmap, is_root| {
        let mut facts = healthy();
        facts.is_root = is_root;
        let sandbox = facts.sandbox.as_mut().unwrap();
        (sandbox.subordinate_ids, sandbox.newuidmap) = (false, newuidmap);
        facts
    };
    let note = |what, hint| (Check::SubordinateIds, State::Note, what, hint);
    expect(&with(false, false), note("newuidmap is not installed", "sudo apt-get install uidmap"));
    expect(&with(true, false), note("ada has none", "usermod --add-subuids 100000-165535"));
    let of_root = judge(&with(true, true), &EngineName::Embedded);
    assert!(!of_root.iter().any(|finding| finding.check == Check::SubordinateIds));
}

#[test]
fn state_folders() {
    let with = |state| {
        let mut facts = healthy();
        facts.state = Some(state);
        facts
    };
    let folder = || PathBuf::from("/srv/state");
    let absent = |writable| StateFolder::Absent { path: folder(), above: "/srv".into(), writable };
    expect(&with(absent(true)), (Check::StateFolder, State::Ok, "made by the first build", ""));
    expect(&with(absent(false)), (Check::StateFolder, State::Broken, "/srv is not writable", "CARRACK_HOME"));
    let newer = StoreError::NewerFormat { path: folder().join("format"), found: 2, known: 1 };
    expect(
        &with(StateFolder::Failed(newer)),
        (Check::StateFolder, State::Broken, "/srv/state/format is of format 2", "CARRACK_HOME"),
    );
    let damaged = StoreError::DamagedFormat { path: folder().join("format") };
    expect(
        &with(StateFolder::Failed(damaged)),
        (Check::StateFolder, State::Broken, "/srv/state/format is damaged", "rm -rf /srv/state "),
    );
}

#[test]
fn room() {
    let with = |kind, free, inodes| {
        let mut facts = healthy();
        let places = facts.places.as_mut().unwrap();
        let place = places.iter_mut().find(|place| place.kind == kind).unwrap();
        // A disk of its own.
        (place.device, place.free, place.inodes) = (2, free, inodes);
        facts
    };
    let expected = |check, state, hint| (check, state, "", hint);
    let space = |state, hint| expected(Check::DiskSpace, state, hint);
    expect(&with(PlaceKind::State, 1_000_000, None), space(State::Broken, "carrack images"));
    expect(&with(PlaceKind::State, 2_000_000_000, None), space(State::Warning, "carrack images"));
    expect(&with(PlaceKind::Docker, 1_000_000, None), space(State::Warning, "docker builder prune"));
    expect(&with(PlaceKind::Target, 1_000_000, None), space(State::Warning, "cargo clean"));
    let inodes = |state| expected(Check::DiskInodes, state, "carrack images");
    expect(&with(PlaceKind::State, 50_000_000_000, Some(1_000)), inodes(State::Broken));
    expect(&with(PlaceKind::State, 50_000_000_000, Some(50_000)), inodes(State::Warning));
    // One line for one disk.
    let shared = judge(&healthy(), &EngineName::Embedded);
    assert_eq!(shared.iter().filter(|finding| finding.check == Check::DiskSpace).count(), 1);
}

#[test]
fn file_systems() {
    let with = |kind, file_system: &str, noexec| {
        let mut facts = healthy();
        let places = facts.places.as_mut().unwrap();
        let place = places.iter_mut().find(|place| place.kind == kind).unwrap();
        place.mount = Some(Mount { file_system: file_system.to_owned(), noexec });
        facts
    };
    let finding = |state, what, hint| (Check::FileSystem, state, what, hint);
    for slow in ["nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs", "fuseblk"] {
        expect(&with(PlaceKind::Workspace, slow, false), finding(State::Warning, slow, "git clone"));
        expect(&with(PlaceKind::State, slow, false), finding(State::Warning, slow, "CARRACK_HOME"));
    }
    expect(&with(PlaceKind::State, "overlay", false), finding(State::Warning, "container", "docker run -v"));
    expect(&with(PlaceKind::Workspace, "overlay", false), finding(State::Ok, "overlay", ""));
    expect(&with(PlaceKind::State, "tmpfs", false), finding(State::Note, "memory", "CARRACK_HOME"));
    expect(&with(PlaceKind::State, "ext4", true), finding(State::Broken, "noexec", "CARRACK_HOME"));
    let mut dead = healthy();
    dead.places = None;
    expect(&dead, (Check::Unanswered, State::Broken, "the disks", "df -h"));
}

#[test]
fn networks() {
    let with = |network: NetworkFacts, clients: Vec<Client>| {
        let mut facts = healthy();
        facts.network = Some(network);
        docker(&mut facts).clients = clients;
        facts
    };
    let bundle = |name, there| NetworkFacts {
        certificates: vec![(name, Path::new("/opt/ca.pem").to_owned(), there)],
        ..NetworkFacts::default()
    };
    let secret = "docker build --secret id=ca-certificates,src=/opt/ca.pem .";
    let own = with(bundle("CARGO_HTTP_CAINFO", true), Vec::new());
    expect(&own, (Check::PrivateCa, State::Note, "CARGO_HTTP_CAINFO is set", secret));
    let gone = with(bundle("SSL_CERT_FILE", false), Vec::new());
    expect(
        &gone,
        (Check::PrivateCa, State::Warning, "/opt/ca.pem, which is not there", "unset SSL_CERT_FILE"),
    );
    let added = NetworkFacts {
        added: vec!["/usr/local/share/ca-certificates/clinic.crt".into()],
        ..Default::default()
    };
    let system = "src=/etc/ssl/certs/ca-certificates.crt";
    expect(&with(added, Vec::new()), (Check::PrivateCa, State::Note, "clinic.crt", system));

    let proxy = |address: &str| {
        let proxies = vec![("https_proxy".to_owned(), address.to_owned())];
        with(NetworkFacts { proxies, ..NetworkFacts::default() }, Vec::new())
    };
    let argument = "--build-arg https_proxy";
    expect(&proxy("http://proxy:3128"), (Check::Proxy, State::Note, "http://proxy:3128", argument));
    expect(&proxy("http://127.0.0.1:3128"), (Check::Proxy, State::Warning, "can't reach", "--network host"));

    let ci = |name| NetworkFacts { ci: Some(name), ..NetworkFacts::default() };
    let github = with(ci("GitHub Actions"), vec![old_client()]);
    expect(&github, (Check::Ci, State::Warning, "cache mounts are gone", "--cache-to type=gha,mode=max"));
    let other = with(ci("GitLab CI"), vec![old_client()]);
    expect(&other, (Check::Ci, State::Warning, "GitLab CI", "--cache-from type=registry"));
    expect(&with(ci("a CI"), Vec::new()), (Check::Ci, State::Note, "keeps the state folder", ""));
}

#[test]
fn root_needs_no_sudo() {
    let mut facts = healthy();
    facts.is_root = true;
    facts.docker = Some(DockerFacts::default());
    for finding in judge(&facts, &EngineName::Docker) {
        assert!(!finding.hint.as_deref().unwrap_or_default().contains("sudo"), "{finding:?}");
    }
    expect(&facts, (Check::Podman, State::Note, "", "apt-get install podman"));
}
