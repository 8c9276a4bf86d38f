//! How the engine runs cargo outside of a sandbox, and what it keeps of cargo's words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carrack_base::{BuildEvent, ContentDigest, StepId};
use carrack_cargo::tool::{REMAP_VARIABLE, WRAPPED_VARIABLE};
use carrack_graph::{Places, Tool};

use crate::units::{Bench, Layout};

fn places(target: &Path) -> Places {
    let pair = |inside: &str, host: &Path| (PathBuf::from(inside), host.to_owned());
    Places {
        pairs: vec![pair("/carrack/target", target), pair("/carrack/src", Path::new("/home/me/project"))],
    }
}

#[test]
fn paths_are_hidden_outside_of_a_sandbox() {
    let mut env = BTreeMap::from([("RUSTC_WRAPPER".to_owned(), "sccache".to_owned())]);
    let mut tool = Bench::new(Layout::Old).tool();
    tool.wrapper = PathBuf::from("/usr/bin/carrack");
    tool.run_outside(&mut env, &places(Path::new("/state/target")));
    assert_eq!(env[REMAP_VARIABLE], "/state/target=/carrack/target\n/home/me/project=/carrack/src");
    assert_eq!(
        (env["RUSTC_WRAPPER"].as_str(), env[WRAPPED_VARIABLE].as_str()),
        ("/usr/bin/carrack", "sccache")
    );
}

#[test]
fn the_transcript_is_the_end_of_what_was_said() {
    let bench = Bench::new(Layout::Old);
    let realm = ContentDigest::of(b"");
    let mut run = bench.tool().begin(StepId(0), &bench.op(), realm, Vec::new(), &bench.world());
    let events = |_: BuildEvent| {};
    for number in 0..20_000 {
        run.stderr(format!("error: number {number}\n").as_bytes(), &events);
    }
    run.close(&events);
    let transcript = run.transcript();
    assert!(transcript.ends_with("error: number 19999\n"), "{}", &transcript[transcript.len() - 100..]);
    assert!((60 * 1024..=64 * 1024).contains(&transcript.len()), "{}", transcript.len());
}
