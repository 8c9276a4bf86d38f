//! The testkit's Docker daemon with the base images `rust` and `debian`, for the time of a measurement.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::docker::CLIENT;
use super::stage::{Folder, Stage};
use super::time;
use crate::cargo::{cargo, start_failed};

/// Ends with its standard input, and the daemon with it.
pub(super) struct Dockyard {
    program: Child,
    host: String,
    /// No settings of the user's.
    settings: Folder,
    /// What the daemon says that it is.
    pub(super) version: String,
}

impl Dockyard {
    /// Starts the daemon; the inner error says why there is none on this machine.
    pub(super) fn start(stage: &Stage<'_>) -> Result<Result<Self, String>, String> {
        let mut command = cargo(stage.root, &["run", "--quiet", "--release", "--package", "carrack-testkit"]);
        // The same folder as the tests': the images are made once for all of them.
        command.args(["--example", "dockyard", "--"]).arg(stage.target.join("tmp/dockyard"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.spawn().map_err(|error| start_failed(&command, &error))?;
        let mut line = String::new();
        let stdout = program.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let Some(host) = line.trim_end().strip_prefix("DOCKER_HOST=") else {
            let mut said = String::new();
            let mut stderr = program.stderr.take().expect("standard error is piped");
            stderr.read_to_string(&mut said).map_err(|error| error.to_string())?;
            program.wait().map_err(|error| error.to_string())?;
            let why = said.trim_end().trim_start_matches("skipped: dockyard: ");
            return Ok(Err(why.to_owned()));
        };
        let (host, settings) = (host.to_owned(), Folder::new("docker-settings")?);
        let mut dockyard = Self { program, host, settings, version: String::new() };
        let mut version = dockyard.client();
        version.args(["version", "--format", "{{.Server.Version}}"]);
        let output = version.output().map_err(|error| start_failed(&version, &error))?;
        dockyard.version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Ok(dockyard))
    }

    /// `docker build` with BuildKit and the host's network, of the Dockerfile in `context`.
    pub(super) fn build(&self, context: &Path, tag: &str) -> Command {
        let mut command = self.client();
        command.args(["build", "--quiet", "--network", "host", "--tag", tag]).arg(context);
        command.env("DOCKER_BUILDKIT", "1");
        command
    }

    /// Throws away layers, cache mounts and images without a name. Images with one stay, but no build takes from them.
    pub(super) fn forget(&self) -> Result<(), String> {
        time(self.client().args(["image", "prune", "--force"]))?;
        time(self.client().args(["builder", "prune", "--all", "--force"]))?;
        Ok(())
    }

    /// The process that everything the daemon does is below.
    pub(super) fn id(&self) -> u32 {
        self.program.id()
    }

    fn client(&self) -> Command {
        let mut command = Command::new(CLIENT);
        command.env("DOCKER_HOST", &self.host).env("DOCKER_CONFIG", self.settings.path());
        command
    }
}

impl Drop for Dockyard {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        let _ = self.program.wait();
    }
}
