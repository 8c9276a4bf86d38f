//! The testkit's Docker daemons, for the time of a measurement: this machine's with the base images `rust` and `debian`, or a
//! current one.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::stage::Stage;
use super::time;
use crate::cargo::{cargo, start_failed};

/// Ends with its standard input, and the daemon with it.
pub(super) struct Dockyard {
    program: Child,
    host: String,
    settings: String,
    client: String,
    /// What the daemon says that it is.
    pub(super) version: String,
}

impl Dockyard {
    /// Starts this machine's daemon; the inner error says why there is none on this machine.
    pub(super) fn start(stage: &Stage<'_>) -> Result<Result<Self, String>, String> {
        Self::start_with(stage, &[])
    }

    /// Starts a current release with nothing in it; the inner error says why there is none on this machine.
    pub(super) fn current(stage: &Stage<'_>) -> Result<Result<Self, String>, String> {
        Self::start_with(stage, &["current"])
    }

    fn start_with(stage: &Stage<'_>, arguments: &[&str]) -> Result<Result<Self, String>, String> {
        let mut command = cargo(stage.root, &["run", "--quiet", "--release", "--package", "carrack-testkit"]);
        // The same folder as the tests': what takes long is made once for all of them.
        command.args(["--example", "dockyard", "--"]).arg(stage.target.join("tmp/dockyard")).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut program = command.spawn().map_err(|error| start_failed(&command, &error))?;
        let mut lines = BufReader::new(program.stdout.take().expect("standard output is piped")).lines();
        let mut next = |name: &str| {
            let line = lines.next()?.ok()?;
            Some(line.trim_end().strip_prefix(name)?.strip_prefix('=')?.to_owned())
        };
        let (host, settings, client) = (next("DOCKER_HOST"), next("DOCKER_CONFIG"), next("CLIENT"));
        let (Some(host), Some(settings), Some(client)) = (host, settings, client) else {
            let mut said = String::new();
            let mut stderr = program.stderr.take().expect("standard error is piped");
            stderr.read_to_string(&mut said).map_err(|error| error.to_string())?;
            program.wait().map_err(|error| error.to_string())?;
            let why = said.trim_end().trim_start_matches("skipped: dockyard: ");
            return Ok(Err(why.to_owned()));
        };
        let mut dockyard = Self { program, host, settings, client, version: String::new() };
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
        let mut command = Command::new(&self.client);
        command.env("DOCKER_HOST", &self.host).env("DOCKER_CONFIG", &self.settings);
        command
    }
}

impl Drop for Dockyard {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        let _ = self.program.wait();
    }
}
