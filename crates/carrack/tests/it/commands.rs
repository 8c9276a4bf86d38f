//! The commands around a build: the store's images, running one, help and completions, and how progress is shown.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use carrack_testkit::{Project, has_program, skipped};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::stage::{Stage, finish, is_root};

/// A program that does what its arguments say.
const PROBE: &str = r#"
use std::io::{Read, Write};

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
    fn getuid() -> u32;
    fn getgid() -> u32;
}

extern "C" fn on_signal(_: i32) {
    unsafe { _exit(9) }
}

fn wait() -> ! {
    println!("ready");
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["code", code] => std::process::exit(code.parse().unwrap()),
        ["abort"] => std::process::abort(),
        ["env"] => {
            let mut variables: Vec<_> = std::env::vars().collect();
            variables.sort();
            variables.iter().for_each(|(name, value)| println!("{name}={value}"));
        }
        ["self"] => {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
            let folder = std::env::current_dir().unwrap();
            let (uid, gid) = unsafe { (getuid(), getgid()) };
            println!("{uid}:{gid} {} {}", folder.display(), host.trim());
        }
        ["cat"] => {
            std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
        }
        ["write", path] => std::fs::write(path, "x").unwrap(),
        ["connect", address] => {
            let mut text = String::new();
            std::net::TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
            print!("{text}");
        }
        ["handle"] => {
            unsafe { signal(15, on_signal) };
            wait()
        }
        ["wait"] => wait(),
        _ => println!("{words:?}"),
    }
}
"#;

fn probe(configuration: &str) -> Stage {
    let stage = Stage::configured(configuration);
    stage.project.write("data/x", "x");
    stage.project.write("src/main.rs", PROBE);
    stage.build(&[]);
    stage
}

#[test]
fn everything_after_the_image_is_the_programs() {
    let stage = Stage::app();
    stage.project.write(
        "src/main.rs",
        "fn main() {\n    println!(\"{:?}\", std::env::args().skip(1).collect::<Vec<_>>());\n}\n",
    );
    stage.build(&[]);
    for (given, got) in [
        (&["app", "--version"][..], "[\"--version\"]\n"),
        (&["-w", "/", "app", "-q", "-u", "x", "--help"], "[\"-q\", \"-u\", \"x\", \"--help\"]\n"),
        (&["app", "--", "stats", "--"], "[\"stats\", \"--\"]\n"),
        (&["app"], "[]\n"),
    ] {
        assert_eq!(stage.run(&[&["run"], given].concat()).expect_code(0).stdout, got);
    }
    stage.run(&["run"]).expect_code(2).expect_stderr("<IMAGE [ARGUMENTS]>");
}

#[test]
fn images_are_listed() {
    let stage = Stage::app();
    assert_eq!(stage.run(&["images", "-q"]).expect_code(0).stdout, "");
    assert_eq!(stage.run(&["images", "--format", "json"]).expect_code(0).stdout, "");
    let id = stage.build(&["-q"]).stdout;
    stage.build(&["-t", "other/name:7"]);
    let listed = stage.run(&["images"]).expect_code(0).stdout;
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["IMAGE", "ID", "DIGEST", "SIZE"]);
    assert_eq!([lines[1][0], lines[2][0]], ["app:latest", "other/name:7"]);
    assert!(lines[1][1].len() == 12 && id.contains(lines[1][1]), "{listed}");
    assert_eq!(stage.run(&["images", "-q"]).expect_code(0).stdout, format!("{id}{id}"));
    let objects = stage.run(&["images", "--format", "json"]).expect_code(0).stdout;
    let objects: Vec<Value> = objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[1]["name"], "other/name:7");
    assert_eq!(objects[1]["id"], id.trim_end());
    assert!(objects[1]["size"].as_u64().unwrap() > 100_000);
}

fn blobs(stage: &Stage) -> usize {
    let folders = fs::read_dir(stage.home.path().join("blobs/sha256")).unwrap();
    folders.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[test]
fn removal_frees_what_no_other_image_needs() {
    let stage = Stage::new(Project::workspace(&["front", "back"]));
    let ids = stage.build(&["-q"]).stdout;
    // Manifest, configuration and binary of each, and the libraries of both.
    assert_eq!(blobs(&stage), 7);
    let removed = stage.run(&["rm", "front"]).expect_code(0);
    assert_eq!((removed.stdout.as_str(), removed.stderr.as_str()), ("front:latest\n", ""));
    assert_eq!(blobs(&stage), 4);
    assert_eq!(stage.run(&["run", "back"]).expect_code(0).stdout, "back 1\n");
    // By the beginning of its id, with all its names.
    stage.build(&["-p", "back", "-t", "second:name"]);
    let back = ids.lines().nth(1).unwrap();
    let removed = stage.run(&["rm", &back[..19]]).expect_code(0);
    assert_eq!(removed.stdout, "back:latest\nsecond:name\n");
    assert_eq!(blobs(&stage), 0);
    assert_eq!(stage.build(&["-q"]).stdout, ids);
    // One mistake, and nothing is removed.
    stage.run(&["rm", "front", "nothing"]).expect_code(2);
    assert_eq!(stage.run(&["images", "-q"]).stdout.lines().count(), 2);
}

#[test]
fn run_gives_the_image_its_surroundings() {
    let stage = probe(
        "\n[package.metadata.carrack]\nenv = { MODE = \"clinic\", KEPT = \"1\" }\nworkdir = \"/srv\"\n\
        files = [{ from = \"data\", to = \"/srv/data\", owner = \"65532:65532\" }]\nvolumes = [\"/state\"]\n",
    );
    let said = |arguments: &[&str]| stage.run(&[&["run"], arguments].concat()).expect_code(0).stdout;
    assert_eq!(said(&["app", "self"]), "65532:65532 /srv carrack\n");
    assert_eq!(said(&["-w", "/tmp", "-u", "7:8", "app", "self"]), "7:8 /tmp carrack\n");
    assert_eq!(said(&["--user", "0", "app", "--", "self"]), "0:0 /srv carrack\n");

    let mut command =
        stage.command(&["run", "-e", "MODE=other", "-e", "FROM_CALLER", "-e", "ABSENT", "app", "env"]);
    let env = finish(command.env("FROM_CALLER", "yes").env("NOT_ASKED_FOR", "1").env("TERM", "xterm"))
        .expect_code(0);
    assert_eq!(
        env.stdout,
        "FROM_CALLER=yes\nHOME=/home/nonroot\nKEPT=1\nMODE=other\n\
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
        SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\nTERM=xterm\n"
    );
    // The image's user may write what is its own, and nothing else.
    for path in ["/srv/data/x", "/srv/data/new", "/state/new", "/tmp/new"] {
        stage.run(&["run", "app", "write", path]).expect_code(0);
    }
    stage.run(&["run", "app", "write", "/usr/local/bin/app"]).expect_code(101);
    // Nothing of that is in the image.
    assert_eq!(stage.build(&["-q", "-o", "root"]).stderr, "");
    assert_eq!(fs::read_to_string(stage.file("root/srv/data/x")).unwrap(), "x");
    assert!(!stage.file("root/srv/data/new").exists());
}

/// As a command of a Dockerfile has them. The image's list of users is a link, which leads on in the image.
#[test]
fn run_has_the_groups_and_the_home_of_a_user() {
    if !Path::new("/bin/busybox").exists() {
        return skipped("the groups of a user", "busybox-static is not installed");
    }
    let stage = Stage::new(Project::new());
    fs::copy("/bin/busybox", stage.file("busybox")).unwrap();
    stage.project.write("names/passwd", "root:x:0:0::/root:\nmara:x:1000:100::/home/mara:\n");
    stage.project.write("etc/group", "users:x:100:\nclinic:x:2000:mara,other\n");
    std::os::unix::fs::symlink("/names/passwd", stage.file("etc/passwd")).unwrap();
    stage.project.write(
        "Dockerfile",
        "FROM scratch\nCOPY busybox /bin/busybox\nCOPY names /names\nCOPY etc /etc\nUSER mara\n\
         ENTRYPOINT [\"/bin/busybox\", \"sh\", \"-c\", \"busybox id -u; busybox id -G; echo $HOME\"]\n",
    );
    stage.build(&["-t", "members"]);
    let said = |arguments: &[&str]| stage.run(&[&["run"], arguments].concat()).expect_code(0).stdout;
    // An ordinary user has no groups to give.
    let groups = |further| if is_root() { further } else { "100" };
    assert_eq!(said(&["members"]), format!("1000\n{}\n/home/mara\n", groups("100 2000")));
    assert_eq!(said(&["-u", "mara:clinic", "members"]), "1000\n2000\n/home/mara\n");
    assert_eq!(said(&["-u", "5", "members"]), "5\n0\n/\n");
    stage.run(&["run", "-u", "mara:none", "members"]).expect_code(2).expect_stderr("no such group");
}

#[test]
fn run_passes_arguments_input_and_exit_codes_on() {
    let stage = probe("\n[package.metadata.carrack]\ncmd = [\"by\", \"default\"]\n");
    let run = |arguments: &[&str]| stage.run(&[&["run"], arguments].concat());
    assert_eq!(run(&["app"]).expect_code(0).stdout, "[\"by\", \"default\"]\n");
    assert_eq!(
        run(&["app", "--", "-e", "x", "--", "y"]).expect_code(0).stdout,
        "[\"-e\", \"x\", \"--\", \"y\"]\n"
    );
    assert_eq!(run(&["--entrypoint", "/usr/local/bin/app", "app"]).expect_code(0).stdout, "[]\n");
    assert_eq!(run(&["--entrypoint", "app", "app", "a"]).expect_code(0).stdout, "[\"a\"]\n");
    assert_eq!(run(&["app", "code", "7"]).expect_code(7).stderr, "");
    assert_eq!(run(&["app", "code", "255"]).expect_code(255).stderr, "");
    run(&["app", "abort"]).expect_code(128 + 6);

    let mut child =
        stage.command(&["run", "app", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text = "line\n".repeat(100_000);
    let mut stdin = child.stdin.take().unwrap();
    let sent = text.clone();
    let writer = std::thread::spawn(move || stdin.write_all(sent.as_bytes()));
    let mut received = String::new();
    child.stdout.take().unwrap().read_to_string(&mut received).unwrap();
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success() && received == text);
}

#[test]
fn run_passes_signals_on() {
    let stage = probe("");
    for (argument, signal, code) in
        [("handle", Signal::TERM, 9), ("wait", Signal::TERM, 128 + 15), ("wait", Signal::INT, 128 + 2)]
    {
        let mut child = stage.command(&["run", "app", argument]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{argument}");
    }
    let scratch = fs::read_dir(stage.home.path().join("scratch")).unwrap().count();
    assert_eq!(scratch, 0, "a run leaves nothing behind");
}

#[test]
fn run_is_in_the_host_network() {
    let stage = probe("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer =
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"from the host\n").unwrap());
    assert_eq!(stage.run(&["run", "app", "connect", &address]).expect_code(0).stdout, "from the host\n");
    answer.join().unwrap();
}

#[test]
fn help_has_examples() {
    let stage = Stage::app();
    for command in [&[][..], &["build"], &["run"], &["images"], &["rm"], &["completions"]] {
        let help = stage.run(&[command, &["--help"]].concat()).expect_code(0);
        assert!(help.stdout.contains("\nExamples:\n  carrack "), "{command:?}: {}", help.stdout);
        assert_eq!(help.stderr, "");
    }
    assert!(stage.run(&["--help"]).stdout.contains("Exit codes: 0 done"));
    let version = format!("carrack {}\n", env!("CARGO_PKG_VERSION"));
    for arguments in [&["--version"][..], &["-V"]] {
        assert_eq!(stage.run(arguments).expect_code(0).stdout, version);
    }
}

#[test]
fn completions_are_scripts() {
    let stage = Stage::app();
    for shell in ["bash", "zsh", "fish"] {
        let script = stage.run(&["completions", shell]).expect_code(0).stdout;
        for word in ["build", "metadata-file", "no-cache"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    // The one shell that every Debian has.
    let script = stage.project.write("bash", &stage.run(&["completions", "bash"]).stdout);
    finish(Command::new("bash").arg("-n").arg(script)).expect_code(0);
    stage.run(&["completions", "cmd"]).expect_code(2).expect_stderr("possible values");
}

#[test]
fn cargo_subcommand() {
    let stage = Stage::app();
    let folder = stage.home.path().join("bin");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_carrack"), folder.join("cargo-carrack")).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("cargo");
    command.args(["carrack", "build", "-q"]).current_dir(stage.path());
    command.env("PATH", path).env("CARRACK_HOME", stage.home.path());
    let built = finish(&mut command).expect_code(0);
    assert!(built.stdout.starts_with("sha256:"));
    assert_eq!(stage.build(&["-q"]).stdout, built.stdout);
}

#[test]
fn progress_for_programs() {
    let stage = Stage::app();
    stage.project.write("src/main.rs", "fn main() {\n    let unused = 1;\n}\n");
    let built = stage.build(&["--progress", "rawjson"]);
    let events: Vec<Value> = built.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"planned"));
    assert_eq!(kinds.last(), Some(&"done"));
    for kind in ["step-started", "step-output", "unit", "step-finished", "image"] {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    let unit = events.iter().find(|event| event["event"] == "unit").unwrap();
    assert_eq!((&unit["target"], &unit["fresh"]), (&json!("app"), &json!(false)));
    let output: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert!(output.contains("warning: unused variable: `unused`"), "{output}");
    assert_eq!(built.stdout, "");
    let again = stage.build(&["--progress", "rawjson"]);
    let events: Vec<Value> = again.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["event"] == "image" && event["unchanged"] == true), "{events:?}");
    // An error is an event too.
    stage.project.write("src/main.rs", "fn main() { let }\n");
    let failed = stage.run(&["build", "--progress", "rawjson"]).expect_code(1);
    let events: Vec<Value> = failed
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let last = events.last().unwrap();
    assert_eq!(last["event"], "error");
    assert_eq!(last["code"], 1);
    assert_eq!(last["message"], "the workspace does not compile (cargo exit 101)");
}

#[test]
fn progress_for_people() {
    let stage = Stage::app();
    stage.project.write("src/main.rs", "fn main() {\n    let unused = 1;\n}\n");
    let plain = stage.build(&["--progress", "plain"]).stderr;
    let starts = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.trim_start().split_once("  ")?.0.to_owned())).collect()
    };
    let labels = starts(&plain);
    for label in ["Workspace", "Compile", "Image", "Done"] {
        assert!(labels.iter().any(|start| start == label), "{plain}");
    }
    assert!(plain.contains("warning: unused variable: `unused`\n --> src/main.rs:2:9\n"), "{plain}");
    assert!(!plain.contains('\x1b') && !plain.contains('\r'), "{plain}");
    let again = stage.build(&[]).stderr;
    assert_eq!(starts(&again), ["Done"], "{again}");
    assert!(again.contains("1 image unchanged"), "{again}");

    let quiet = |arguments: &[&str]| stage.build(arguments).stderr;
    stage.project.write("src/main.rs", "fn main() {\n    let unused = 2;\n}\n");
    assert_eq!(quiet(&["--progress", "quiet"]), "");

    stage.project.write("src/main.rs", "fn main() {\n    let unused = 3;\n}\n");
    let coloured = finish(stage.command(&["build"]).env("CLICOLOR_FORCE", "1")).expect_code(0).stderr;
    let warning = coloured.lines().find(|line| line.contains("unused variable")).unwrap();
    assert!(warning.contains("\x1b["), "{coloured:?}");
    assert!(coloured.lines().last().unwrap().contains("\x1b["), "{coloured:?}");
    stage.project.write("src/main.rs", "fn main() {\n    let unused = 4;\n}\n");
    let command = &mut stage.command(&["build"]);
    let bare = finish(command.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1")).expect_code(0).stderr;
    assert!(bare.contains("unused variable") && !bare.contains('\x1b'), "{bare:?}");
}

/// What `carrack build` shows on a terminal of its own.
fn on_a_terminal(stage: &Stage, env: &[(&str, &str)]) -> String {
    let mut command = Command::new("script");
    let line = format!("{} build", Path::new(env!("CARGO_BIN_EXE_carrack")).display());
    command.args(["-qec", &line, "/dev/null"]).current_dir(stage.path()).stdin(Stdio::null());
    command
        .env("CARRACK_HOME", stage.home.path())
        .env("TERM", "xterm")
        .env_remove("CI")
        .env_remove("NO_COLOR");
    command.envs(env.iter().copied());
    finish(&mut command).expect_code(0).stdout
}

#[test]
fn terminal() {
    if !has_program("script") {
        skipped("the live view", "no script");
        return;
    }
    let stage = Stage::app();
    let first = on_a_terminal(&stage, &[]);
    assert!(first.contains("\x1b[") && first.contains("Compile") && first.contains("Done"), "{first:?}");
    assert!(first.contains("Try one with `carrack run app`"), "{first:?}");
    let again = on_a_terminal(&stage, &[]);
    assert!(
        again.contains("1 image unchanged") && !again.contains("Workspace") && !again.contains("Try one"),
        "{again:?}"
    );
    let shown = [("NO_COLOR", "1"), ("CI", "1")];
    stage.project.write("src/main.rs", "fn main() {}\n");
    let bare = on_a_terminal(&stage, &shown);
    assert!(!bare.contains('\x1b') && bare.contains("Compile  1 crate"), "{bare:?}");
    stage.project.write("src/main.rs", "fn main() { println!(); }\n");
    let dumb = on_a_terminal(&stage, &[("TERM", "dumb")]);
    assert!(!dumb.contains('\x1b') && dumb.contains("Compile  1 crate"), "{dumb:?}");
}
