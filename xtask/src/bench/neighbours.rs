//! Programs that others made for the same purpose, and the daemons that some of them need.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::stage::{self, Stage};
use super::time;
use crate::cargo::{cargo, start_failed};

const PATIENCE: Duration = Duration::from_secs(30);

/// A program that is there.
pub(super) struct Neighbour {
    pub(super) program: PathBuf,
    /// Its name and version.
    pub(super) version: String,
}

/// A process of this run's own, killed at its end: what it keeps is of no use afterwards.
pub(super) struct Daemon(Child);

impl Neighbour {
    /// The program of this name in `PATH`; else cargo compiles it once, for this and later runs.
    pub(super) fn find(stage: &Stage<'_>, name: &str) -> Result<Self, String> {
        let program = match in_path(name) {
            Some(program) => program,
            None => {
                let root = stage.target.join("bench").join(name);
                let program = root.join("bin").join(name);
                if !program.exists() {
                    eprintln!("  compiling {name}");
                    time(cargo(Path::new("/"), &["install", name, "--locked", "--root"]).arg(&root))?;
                }
                program
            }
        };
        let mut command = Command::new(&program);
        // cargo-chef is one of cargo's own subcommands, and wants to be called like that.
        command.args((name == "cargo-chef").then_some("chef")).arg("--version");
        let output = command.output().map_err(|error| start_failed(&command, &error))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = format!("{name} {}", said.split_whitespace().last().unwrap_or_default());
        Ok(Self { program, version })
    }
}

/// The file of this name in a folder of `PATH`.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

impl Daemon {
    /// Starts `command`, which is ready when `is_ready` says so.
    pub(super) fn start(
        command: &mut Command,
        log: &Path,
        is_ready: impl Fn() -> bool,
    ) -> Result<Self, String> {
        stage::write(log, "")?;
        let file = File::create(log).map_err(|error| format!("can't write {}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let mut daemon = Self(command.spawn().map_err(|error| start_failed(command, &error))?);
        let start = Instant::now();
        while !is_ready() {
            let ended = daemon.0.try_wait().map_err(|error| error.to_string())?.is_some();
            if ended || start.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!(
                    "{} does not start: {}",
                    command.get_program().display(),
                    said.trim_end()
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
