//! All tests of the repository, in one command and with one sum.
//!
//! Runs cargo, hands its output on as it comes and reads it on the way: the `test result:` line of every test binary
//! and the lines that begin with `skipped:`, which is what a test prints when this machine lacks something. A failing
//! test fails the command; a skip does not, but every skip is told once more at the end.

use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;

use crate::cargo::{EXAMPLE_MANIFEST, cargo, start_failed};
use crate::debian;

/// What the output of the test binaries adds up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// What the `skipped:` lines say.
    skips: Vec<String>,
}

/// Runs the tests whose names contain one of `filters`, or all; whether they passed.
pub(crate) fn run(root: &Path, filters: &[String]) -> Result<bool, String> {
    let in_ci = env::var_os("CI").is_some();
    debian::provide(in_ci).map_err(|error| format!("can't ask on the terminal: {error}"))?;
    let tally = Mutex::new(Tally::default());
    let mut passed = true;
    for selection in [&["--workspace"][..], &["--manifest-path", EXAMPLE_MANIFEST, "--workspace"]] {
        passed &= run_cargo(root, selection, filters, &tally)?;
    }
    let tally = tally.into_inner().expect("no reader of the output panics");
    for skip in &tally.skips {
        eprintln!("skipped: {skip}");
    }
    println!("{}", tally.summary());
    Ok(passed)
}

fn run_cargo(
    root: &Path,
    selection: &[&str],
    filters: &[String],
    tally: &Mutex<Tally>,
) -> Result<bool, String> {
    let mut command = cargo(root, &["test", "--no-fail-fast"]);
    command.args(selection);
    // Options, not variables: the tests' own cargos would inherit those.
    if io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none() {
        command.args(["--color", "always"]);
    }
    // Without `--show-output` the harness keeps the skips of passing tests to itself.
    command.args(["--", "--show-output"]);
    if env::var_os("RUST_TEST_THREADS").is_none() {
        // One more than processors: some test always waits for a server, a lock or the disk.
        let threads = thread::available_parallelism().map_or(1, usize::from) + 1;
        command.arg(format!("--test-threads={threads}"));
    }
    command.args(filters);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| start_failed(&command, &error))?;
    let stdout = child.stdout.take().expect("the output is piped");
    let stderr = child.stderr.take().expect("the output is piped");
    let copied = thread::scope(|scope| {
        let errors = scope.spawn(|| copy(stderr, io::stderr(), tally));
        copy(stdout, io::stdout(), tally).and(errors.join().expect("no reader of the output panics"))
    });
    copied.map_err(|error| format!("can't hand on the output of the tests: {error}"))?;
    let status = child.wait().map_err(|error| format!("can't wait for cargo: {error}"))?;
    Ok(status.success())
}

/// Hands `from` on to `to`, line by line, and counts.
fn copy(from: impl Read, mut to: impl Write, tally: &Mutex<Tally>) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        tally.lock().expect("no reader of the output panics").read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(())
}

impl Tally {
    fn read(&mut self, line: &str) {
        let line = line.trim();
        if let Some(skip) = line.strip_prefix("skipped:") {
            self.skips.push(skip.trim().to_owned());
        } else if line.starts_with("test result:") {
            self.passed += number_before(line, " passed");
            self.failed += number_before(line, " failed");
            self.ignored += number_before(line, " ignored");
        }
    }

    fn summary(&self) -> String {
        let Self { passed, failed, ignored, skips } = self;
        format!("{passed} passed, {failed} failed, {ignored} ignored; {} said `skipped:`", skips.len())
    }
}

/// The number in `… 12 passed; …`; 0 if there is none.
fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_handed_on_unchanged_and_summed() {
        let output = "running 3 tests\n\
            test a ... ok\n\
            skipped: a: no podman\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s\n\
            \n\
            test result: \u{1b}[31mFAILED\u{1b}[m. 10 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n\
            no line end \u{fffd}";
        let tally = Mutex::new(Tally::default());
        let mut copied = Vec::new();
        copy(output.as_bytes(), &mut copied, &tally).unwrap();
        assert_eq!(copied, output.as_bytes());
        let tally = tally.into_inner().unwrap();
        assert_eq!(tally.skips, ["a: no podman"]);
        assert_eq!(tally.summary(), "12 passed, 1 failed, 1 ignored; 1 said `skipped:`");
    }

    #[test]
    fn only_result_lines_count() {
        let mut tally = Tally::default();
        tally.read("we say 5 passed; 5 failed; 5 ignored");
        tally.read("nothing was skipped: all is well");
        assert_eq!(tally, Tally::default());
    }
}
