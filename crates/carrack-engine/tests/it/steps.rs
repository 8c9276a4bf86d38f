//! When a step runs, and what is said about it.

use std::fs;

use carrack_base::{BuildEvent, StepOutcome};
use carrack_engine::EngineError;
use carrack_sandbox::Exit;

use crate::workshop::{Recipe, Workshop};

const COPY: &str = "cp source /carrack/target/app";

#[test]
fn nothing_runs_while_nothing_changes() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new(COPY);
    let first = workshop.build(&recipe);
    assert_eq!(first.runs(), 1);
    assert!(!first.images()[0].unchanged);
    assert_eq!(workshop.content(&first.images()[0], "/bin/app"), "one\n");
    assert_eq!(first.reasons(), Vec::<&str>::new());

    let second = workshop.build(&recipe);
    assert_eq!((second.runs(), second.reasons().len()), (0, 0));
    assert!(second.images()[0].unchanged);
    assert_eq!(second.images()[0].manifest, first.images()[0].manifest);

    // A newer time alone is no change.
    workshop.project.write("source", "one\n");
    assert_eq!(workshop.build(&recipe).runs(), 0);
}

#[test]
fn whatever_is_keyed_makes_the_step_run_again() {
    let Some(workshop) = Workshop::new() else { return };
    let mut recipe = Recipe::new(COPY).with_env("KEYED", "1", true).with_env("LOOSE", "1", false);
    recipe.identity.insert("compiler".to_owned(), "1.0".to_owned());
    workshop.build(&recipe).images();

    let check = |recipe: &Recipe, expected: &[&str]| {
        let outcome = workshop.build(recipe);
        outcome.images();
        assert_eq!(outcome.runs(), usize::from(!expected.is_empty()), "{:?}", outcome.reasons());
        assert_eq!(outcome.reasons(), expected);
    };
    recipe = recipe.with_env("LOOSE", "2", false);
    check(&recipe, &[]);
    recipe = recipe.with_env("KEYED", "2", true);
    check(&recipe, &["KEYED changed"]);
    recipe.identity.insert("compiler".to_owned(), "1.1".to_owned());
    check(&recipe, &["compiler changed (1.0 → 1.1)"]);
    recipe.script.push_str("\ntrue");
    check(&recipe, &["cargo's arguments changed"]);
    workshop.project.write("sub/more", "");
    check(&recipe, &["sub/more added"]);
    workshop.project.remove("sub/more");
    let back = workshop.build(&recipe);
    assert_eq!(back.runs(), 0, "the result of before is still known");
}

#[test]
fn modes_and_links_are_content() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new(COPY);
    workshop.build(&recipe).images();
    fs::set_permissions(workshop.path("source"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(workshop.build(&recipe).runs(), 1);
    symlink("source", workshop.path("link")).unwrap();
    assert_eq!(workshop.build(&recipe).runs(), 1);
    assert_eq!(workshop.build(&recipe).runs(), 0);
}

#[test]
fn an_image_is_unchanged_when_its_artifact_is() {
    let Some(workshop) = Workshop::new() else { return };
    let mut recipe =
        Recipe::new("head -n 1 source > /carrack/target/app; head -n 1 other > /carrack/target/tool");
    recipe.script.push_str("\necho artifact tool /carrack/target/tool");
    recipe.artifacts = vec!["app", "tool"];
    workshop.project.write("other", "two\n");
    let first = workshop.build(&recipe);
    assert_eq!(first.runs(), 1, "two images share one run");
    assert_eq!(first.images().iter().map(|image| &*image.name).collect::<Vec<_>>(), ["app", "tool"]);

    workshop.project.write("source", "one\n// a comment\n");
    let second = workshop.build(&recipe);
    assert_eq!(second.runs(), 1);
    assert!(second.images().iter().all(|image| image.unchanged));

    workshop.project.write("other", "three\n");
    let third = workshop.build(&recipe);
    assert_eq!(third.images().iter().map(|image| image.unchanged).collect::<Vec<_>>(), [true, false]);
    assert_eq!(workshop.content(&third.images()[1], "/bin/tool"), "three\n");
}

#[test]
fn no_cache_runs_in_an_empty_folder() {
    let Some(workshop) = Workshop::new() else { return };
    let script =
        "cp source /carrack/target/app; echo x >> /carrack/target/runs; wc -l < /carrack/target/runs >&2
                  cat /carrack/target/runs | tr -d '\\n' >> /carrack/target/app";
    let mut recipe = Recipe::new(script);
    let first = workshop.build(&recipe);
    recipe.no_cache = true;
    let second = workshop.build(&recipe);
    assert_eq!(second.runs(), 1);
    assert_eq!(second.reasons(), ["--no-cache was given"]);
    assert_eq!(workshop.content(&second.images()[0], "/bin/app"), "one\nx");
    assert!(second.images()[0].unchanged, "{:?}", first.images());
    recipe.no_cache = false;
    assert_eq!(workshop.build(&recipe).runs(), 0, "its result is kept all the same");
}

#[test]
fn a_failing_step_says_how_it_ended() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new("echo the reason >&2; exit 7");
    let failed = workshop.build(&recipe);
    let EngineError::StepFailed { step, program, exit, transcript } = failed.error() else {
        panic!("{:?}", failed.error())
    };
    assert_eq!((&**step, &**program, &**transcript), ("Script", "/bin/sh", "the reason\n"));
    assert_eq!(*exit, Exit::Code(7));
    let ended =
        |event: &BuildEvent| matches!(event, BuildEvent::StepFinished { outcome: StepOutcome::Failed, .. });
    assert!(failed.events.iter().any(ended));
    // A failure is not kept.
    assert_eq!(workshop.build(&recipe).runs(), 1);

    let killed = workshop.build(&Recipe::new("kill -SEGV $$"));
    assert!(
        matches!(killed.error(), EngineError::StepFailed { exit: Exit::Signal(11), .. }),
        "{:?}",
        killed.error()
    );
}

#[test]
fn a_step_has_to_make_what_it_promised() {
    let Some(workshop) = Workshop::new() else { return };
    let unsaid = workshop.build(&Recipe { script: "true".to_owned(), ..Recipe::new("") });
    assert!(matches!(unsaid.error(), EngineError::NoArtifact { artifact, .. } if artifact == "app"));
    let unmade = workshop.build(&Recipe::new("true"));
    assert!(matches!(unmade.error(), EngineError::NoArtifact { artifact, .. } if artifact == "app"));
    let elsewhere = Recipe { script: "echo artifact app /etc/passwd".to_owned(), ..Recipe::new("") };
    assert!(matches!(workshop.build(&elsewhere).error(), EngineError::NoArtifact { .. }));
}

#[test]
fn a_program_that_is_not_there() {
    let Some(workshop) = Workshop::new() else { return };
    let failed = workshop.build(&Recipe::new("/no/such/program"));
    assert!(matches!(failed.error(), EngineError::StepFailed { exit: Exit::Code(127), .. }));
}

#[test]
fn sources_that_change_while_they_are_built_are_built_again() {
    let Some(workshop) = Workshop::new() else { return };
    // The script waits for a second content, which comes while it runs.
    let recipe = Recipe::new(
        "cp source /carrack/target/app; echo copied; while grep -q one source; do sleep 0.01; done; echo file /carrack/src/source",
    );
    let once = std::sync::Once::new();
    let outcome = workshop.build_until(&recipe, &Default::default(), |event| {
        if let BuildEvent::StepOutput { bytes, .. } = event
            && bytes.starts_with(b"copied")
        {
            once.call_once(|| drop(workshop.project.write("source", "two\n")));
        }
    });
    assert_eq!(outcome.runs(), 2);
    assert_eq!(workshop.content(&outcome.images()[0], "/bin/app"), "two\n");
    assert_eq!(workshop.build(&recipe).runs(), 0);
}

#[test]
fn files_that_no_step_reads_may_change_all_the_time() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe =
        Recipe::new("cp source /carrack/target/app; echo go; sleep 0.2; echo file /carrack/src/source");
    let outcome = workshop.build_until(&recipe, &Default::default(), |event| {
        if let BuildEvent::StepOutput { bytes, .. } = event
            && bytes.starts_with(b"go")
        {
            workshop.project.write("dev.db", "written by another program\n");
        }
    });
    assert_eq!(outcome.runs(), 1);
    assert_eq!(workshop.content(&outcome.images()[0], "/bin/app"), "one\n");
    // What it was made of can't be said for sure, so the next build asks the program again.
    assert_eq!(workshop.build(&recipe).runs(), 1);
    assert_eq!(workshop.build(&recipe).runs(), 0);
}

/// Waits for another content of its source, but not for ever.
const CHANGING: &str = "cp source /carrack/target/app; echo go; \
    for try in $(seq 200); do cmp -s source /carrack/target/app || break; sleep 0.01; done; \
    echo file /carrack/src/source";

#[test]
fn sources_that_change_during_every_run_are_an_error() {
    let Some(workshop) = Workshop::new() else { return };
    let recipe = Recipe::new(CHANGING);
    let count = std::sync::atomic::AtomicU32::new(0);
    let outcome = workshop.build_until(&recipe, &Default::default(), |event| {
        if let BuildEvent::StepOutput { bytes, .. } = event
            && bytes.starts_with(b"go")
        {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            workshop.project.write("source", &format!("{number}\n"));
        }
    });
    assert!(matches!(outcome.error(), EngineError::Unstable { runs: 3 }), "{:?}", outcome.error());
    // Nothing of it is kept under the content that was there in the end.
    let later = workshop.build(&Recipe::new(CHANGING));
    assert_eq!(later.runs(), 1);
    assert_eq!(workshop.content(&later.images()[0], "/bin/app"), "2\n");
}
