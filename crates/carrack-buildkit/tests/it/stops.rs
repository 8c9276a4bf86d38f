//! Builds that are stopped, from outside and by each other, and what others can see of them while they run.

use std::thread;
use std::time::{Duration, Instant};

use carrack_base::{BuildEvent, Cancel};
use carrack_buildkit::{BuildArgument, BuildKitError};
use carrack_testkit::command_lines;

use crate::dock::Dock;

const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn wait_until_gone(text: &str) {
    let start = Instant::now();
    while !command_lines(text).is_empty() {
        assert!(start.elapsed() < PATIENCE, "{:?}", command_lines(text));
        thread::sleep(Duration::from_millis(20));
    }
}

/// A step that says `running` and then does nothing for a very long time; the number is in its command line.
fn endless(number: u32) -> String {
    format!("FROM scratch AS app\nCOPY rootfs /\nARG TOKEN\nRUN echo running && sleep {number}\n")
}

fn says(event: &BuildEvent, text: &str) -> bool {
    matches!(event, BuildEvent::StepOutput { bytes, .. } if String::from_utf8_lossy(bytes).contains(text))
}

#[test]
fn a_stop_ends_the_step_in_the_engine() {
    let Some(dock) = Dock::start("a_stop_ends_the_step_in_the_engine") else { return };
    for site in dock.clients("a_stop_ends_the_step_in_the_engine") {
        for signal in [2, 15] {
            let cancel = Cancel::default();
            let build = site.plain(&endless(901_177), "app");
            let (result, _) = site.build(&[build], &cancel, |event| {
                if says(event, "running") {
                    assert!(!command_lines("sleep 901177").is_empty(), "the search finds what runs");
                    cancel.cancel(signal);
                }
            });
            assert!(
                matches!(result, Err(BuildKitError::Cancelled { signal: by }) if by == signal),
                "{result:?}"
            );
            wait_until_gone("sleep 901177");
        }
    }
}

#[test]
fn one_failure_stops_the_other_builds() {
    let Some(dock) = Dock::start("one_failure_stops_the_other_builds") else { return };
    for site in dock.clients("one_failure_stops_the_other_builds") {
        // The broken one waits until the other one runs.
        let text = "FROM scratch AS base\nCOPY rootfs /\nFROM base AS endless\nRUN echo running && sleep 901178\n\
            FROM base AS broken\nRUN sleep 2; exit 3\n";
        let builds = ["endless", "broken"].map(|name| site.plain(text, name));
        let (result, _) = site.build(&builds, &Cancel::default(), |_| {});
        assert!(
            matches!(&result, Err(BuildKitError::StepFailed { build, exit: Some(3), .. }) if build == "broken"),
            "{result:?}"
        );
        wait_until_gone("sleep 901178");
    }
}

#[test]
fn values_are_not_in_anybodys_command_line() {
    let Some(dock) = Dock::start("values_are_not_in_anybodys_command_line") else { return };
    for site in dock.clients("values_are_not_in_anybodys_command_line") {
        let cancel = Cancel::default();
        let mut build = site.plain(&endless(901_179), "app");
        build.arguments = [("TOKEN".to_owned(), BuildArgument::Value("hidden-value".to_owned()))].into();
        let (result, _) = site.build(&[build], &cancel, |event| {
            if says(event, "running") {
                assert!(!command_lines("--build-arg TOKEN").is_empty(), "the search finds the client");
                assert_eq!(command_lines("hidden-value"), [""; 0]);
                cancel.cancel(2);
            }
        });
        assert!(matches!(result, Err(BuildKitError::Cancelled { .. })), "{result:?}");
    }
}

#[test]
fn an_engine_that_is_not_there() {
    let Some(mut dock) = Dock::start("an_engine_that_is_not_there") else { return };
    dock.docker.stop();
    for site in dock.clients("an_engine_that_is_not_there") {
        let (result, _) = site.build(&[site.plain(&endless(1), "app")], &Cancel::default(), |_| {});
        assert!(matches!(result, Err(BuildKitError::Unreachable { .. })), "{result:?}");
    }
}
