//! Builds that fail, are stopped or killed, and builds where the machine forbids a sandbox: what was finished is reused.

use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::time::SystemTime;

use carrack_testkit::{Finished, Project, skipped};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    SOME, Yard, chain, compiled_units, date, depends, manifest, number, prints, reused_units, told,
    with_registry,
};
use crate::scene::{Built, long_ago};
use crate::stage::finish;

#[test]
fn a_failed_build() {
    let yard = Yard::new(chain());
    yard.write("app/src/main.rs", "fn main() { nonsense }\n");
    let failed = Built::read(&yard.try_build(&[]).expect_code(1));
    assert!(compiled_units(&failed).contains("middle"), "{:?}", compiled_units(&failed));
    yard.write("second/src/main.rs", "fn main() { nonsense }\n");
    let failed = Built::read(&yard.try_build(&[]).expect_code(1));
    assert_eq!(reused_units(&failed), ["leaf", "middle"].map(str::to_owned).into());
    yard.write("app/src/main.rs", &prints("format_args!(\"mended {}\", middle::number())"));
    yard.write("second/src/main.rs", &prints("middle::number()"));
    yard.check("mended", "app", "mended 2");
    // What failed leaves nothing that is taken for a success.
    yard.write("leaf/src/lib.rs", &number("nonsense"));
    yard.try_build(&[]).expect_code(1).expect_stderr("nonsense");
    yard.try_build(&[]).expect_code(1).expect_stderr("nonsense");
    yard.project().write_old("leaf/src/lib.rs", &number("1"), long_ago());
    yard.check_fresh("as before", "mended 2");
    // A build script that fails after it wrote something.
    yard.write(
        "leaf/build.rs",
        "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
         std::fs::write(out + \"/half\", \"done\").unwrap();\n    panic!(\"half done\");\n}\n",
    );
    yard.try_build(&[]).expect_code(1).expect_stderr("half done");
    yard.write(
        "leaf/build.rs",
        "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
         assert!(!std::path::Path::new(&(out + \"/half\")).exists());\n}\n",
    );
    yard.check("a script mended", "app leaf leaf/build middle second", "mended 2");
}

/// `chain` and a registry's package, where `app`'s build script takes as many seconds as `pause` says.
fn pausing() -> Yard {
    let project = chain();
    project.write("leaf/Cargo.toml", &manifest("leaf", "[dependencies]\nitoa = \"=1.0.9\""));
    project.write(
        "app/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=pause\");\n    \
         let pause: u64 = std::fs::read_to_string(\"pause\").unwrap().parse().unwrap();\n    \
         std::fs::write(std::env::var(\"OUT_DIR\").unwrap() + \"/half\", \"\").unwrap();\n    \
         std::thread::sleep(std::time::Duration::from_secs(pause));\n}\n",
    );
    project.write("app/Cargo.toml", &manifest("app", &depends(&["middle"])));
    project.write("app/pause", "100");
    with_registry(project, ".")
}

/// Starts a build, and sends it a signal once everything but `app` is compiled.
fn interrupt(yard: &Yard, signal: Signal) -> Option<i32> {
    let arguments = ["build", "--offline", "--progress", "rawjson"];
    let mut child = yard.scene.program().start(&yard.scene.workspace(), &arguments);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    // Its dependents wait, or are compiled already.
    let is_there = |said: &str| {
        ["\"second", "\"app 0.1.0\",\"target\":\"build-script-build\""].iter().all(|text| said.contains(text))
            && said.contains("app(build)")
    };
    while !is_there(&said) {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    kill_process(Pid::from_child(&child), signal).unwrap();
    stderr.read_to_string(&mut said).unwrap();
    child.wait().unwrap().code()
}

#[test]
fn a_stopped_build() {
    let yard = pausing();
    assert_eq!(interrupt(&yard, Signal::INT), Some(130));
    yard.write("app/pause", "0");
    let built = yard.check("after Ctrl-C", "app", "one 2");
    let reused = ["app/build", "itoa", "leaf", "middle", "second"].map(str::to_owned);
    assert_eq!(reused_units(&built), reused.into(), "{}", told(&built));
}

#[test]
fn a_killed_build() {
    let yard = pausing();
    yard.write("app/pause", "0");
    yard.check("first build", "app app/build itoa leaf middle second", "one 2");
    yard.write("app/pause", "100");
    yard.write("leaf/src/lib.rs", &number("2"));
    assert_eq!(interrupt(&yard, Signal::KILL), None);
    yard.project().write_old("app/pause", "0", long_ago());
    yard.project().write_old("leaf/src/lib.rs", &number("1"), long_ago());
    yard.check_fresh("the sources of before", "one 2");
    yard.project().write_old("leaf/src/lib.rs", &number("2"), long_ago());
    yard.check("the sources that were killed", super::ANY, "one 3");
}

/// A yard whose builds run where namespaces are forbidden.
struct Plain {
    yard: Yard,
}

impl Plain {
    fn build(&self, state: &str, more: &[&str]) -> Finished {
        // Whoever is in such a namespace can't make another one.
        let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
        let program = self.yard.scene.program();
        let state = self.yard.scene.around.path().join(state);
        let program = program.with_env("CARRACK_HOME", state);
        let command =
            program.command(&self.yard.scene.workspace(), &["build", "--offline", "--progress", "rawjson"]);
        let mut outer = Command::new("unshare");
        outer.args(["--user", "--map-root-user", "sh", "-c", forbid, "sh"]);
        outer.arg(command.get_program()).args(command.get_args()).args(more);
        outer.current_dir(command.get_current_dir().unwrap()).env_clear();
        outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        finish(&mut outer)
    }

    #[track_caller]
    fn check(&self, what: &str, compiled: &str, says: &str) -> Built {
        self.yard.write("README.md", &format!("{:?}", SystemTime::now()));
        let finished = self.build("state", &[]).expect_code(0).expect_stderr("forbids the sandbox");
        let built = Built::read(&finished);
        let done = compiled_units(&built).into_iter().collect::<Vec<_>>().join(" ");
        match compiled {
            SOME => assert!(!done.is_empty(), "{what}"),
            compiled => assert_eq!(done, compiled, "{what}:\n{}", told(&built)),
        }
        assert_eq!(self.yard.scene.says("app"), says, "{what}");
        let clean = Built::read(&self.build("clean", &["--no-cache"]).expect_code(0));
        assert_eq!(built.digests(), clean.digests(), "{what}");
        built
    }
}

#[test]
fn without_a_sandbox() {
    let probe = Command::new("unshare").args(["--user", "--map-root-user", "true"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return skipped("builds without a sandbox", "no user namespaces");
    }
    let project = chain();
    project.write("leaf/Cargo.toml", &manifest("leaf", "[dependencies]\nitoa = \"=1.0.9\""));
    project.write(
        "leaf/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=number\");\n    \
         let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
         std::fs::copy(\"number\", out + \"/number\").unwrap();\n}\n",
    );
    project.write("leaf/number", "1");
    project.write("leaf/src/lib.rs", &number("include!(concat!(env!(\"OUT_DIR\"), \"/number\"))"));
    let mut plain = Plain { yard: with_registry(project, ".") };
    plain.check("first build", "app itoa leaf leaf/build middle second", "one 2");
    plain.check("a file that no crate reads", "", "one 2");
    let edit = |plain: &Plain, from: &str, to: &str| plain.yard.edit("middle/src/lib.rs", from, to);
    edit(&plain, "+ 1", "+ 2");
    plain.check("edited", "app middle second", "one 3");
    edit(&plain, "+ 2", "+ 1");
    plain.check("taken back", "", "one 2");
    plain.yard.project().write_old("leaf/number", "5", long_ago());
    plain.check("a build script's input, with an older time", "app leaf middle second", "one 6");
    plain.yard.project().write_old("leaf/number", "1", long_ago());
    plain.check("and back", "", "one 2");
    date(plain.yard.project().path(), SystemTime::now());
    plain.check("touched", "", "one 2");
    // Another folder: packages from elsewhere are the same, the workspace's own know where they are.
    let clone = plain.yard.project().copy();
    let _first = std::mem::replace(&mut plain.yard.scene.project, clone);
    let built = plain.check("a clone", SOME, "one 2");
    assert!(!built.digests().is_empty());
    // And in a sandbox again, with the same store.
    plain.yard.write("README.md", "");
    plain.yard.check("with a sandbox", "app itoa leaf leaf/build middle second", "one 2");
    plain.check("and without", "", "one 2");
}

#[test]
fn one_folder_after_the_other() {
    // Failures in between, and a change of features in a project of one package.
    let project = Project::binary("app", "");
    project.write("Cargo.toml", &manifest("app", "[features]\nloud = []"));
    project.write("src/main.rs", &prints("if cfg!(feature = \"loud\") { \"LOUD\" } else { \"quiet\" }"));
    let mut yard = Yard::new(project);
    yard.check("first build", "app", "quiet");
    yard.arguments = vec!["--features".to_owned(), "loud".to_owned()];
    yard.check("a feature", "app", "LOUD");
    yard.edit("src/main.rs", "quiet", "nonsense\" + \"");
    yard.try_build(&[]).expect_code(1);
    yard.edit("src/main.rs", "nonsense\" + \"", "quiet");
    yard.check_fresh("mended", "LOUD");
    yard.arguments.clear();
    yard.check_fresh("no feature", "quiet");
}
