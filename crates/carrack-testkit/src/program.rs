use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program under test, with the environment that every run gets.
#[derive(Clone)]
pub struct Program {
    path: PathBuf,
    env: Vec<(OsString, OsString)>,
    ids: Option<u32>,
    clean: bool,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Program {
    /// The program at `path`, run as whoever runs the test.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), env: Vec::new(), ids: None, clean: false }
    }

    /// Sets a variable for every run.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Gives it nothing of the test's own environment: cargo sets variables for tests that a build would take for inputs.
    #[must_use]
    pub fn in_clean_environment(mut self) -> Self {
        self.clean = true;
        self
    }

    /// Runs it as an ordinary user with this number (the test has to run as root).
    #[must_use]
    pub fn as_user(mut self, id: u32) -> Self {
        self.ids = Some(id);
        self
    }

    /// The command that a run in `folder` would start.
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = match self.ids {
            None => Command::new(&self.path),
            Some(id) => {
                let mut command = Command::new("setpriv");
                let id = id.to_string();
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(&self.path);
                command
            }
        };
        command.args(arguments).current_dir(folder).stdin(Stdio::null());
        if self.clean {
            command.env_clear();
        }
        command.envs(self.env.iter().cloned());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Finished {
        let output = self.command(folder, arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
        Finished {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts it, with both outputs piped.
    pub fn start(&self, folder: &Path, arguments: &[&str]) -> Child {
        let mut command = self.command(folder, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

impl Finished {
    /// Fails the test unless the exit code is `code`.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless standard error has `text` somewhere.
    #[track_caller]
    pub fn expect_stderr(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected {text:?} in:\n{}", self.stderr);
        self
    }
}

/// The first program of this name in `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether a program is on this machine.
pub fn has_program(name: &str) -> bool {
    find_program(name).is_some()
}

/// The command lines of this machine's processes that have `text` in them.
pub fn command_lines(text: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("processes can be listed").flatten();
    // Processes end while they are looked at.
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}
