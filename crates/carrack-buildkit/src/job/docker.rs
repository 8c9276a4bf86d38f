use std::process::{Command, Stdio};

use super::*;

/// `docker buildx build`.
pub(super) fn buildx(
    client: &Client,
    docker: &Path,
    version: Version,
    builder: Option<&str>,
    build: &DockerBuild,
    folder: &Path,
) -> Result<Job, BuildKitError> {
    let is = |minor| version >= Version { major: 0, minor };
    unsupported(
        client,
        &[
            ("--build-context", !build.contexts.is_empty() && !is(8)),
            ("more than one output", build.outputs.len() > 1 && !is(13)),
        ],
    )?;
    let mut options = Options::default();
    if let Some(builder) = builder {
        options.add("--builder", builder);
    }
    options.flag("--progress", if client.has_rawjson() { "rawjson" } else { "plain" });
    options.common(build);
    let platforms: Vec<String> = build.platforms.iter().map(ToString::to_string).collect();
    if !platforms.is_empty() {
        options.add("--platform", platforms.join(","));
    }
    options.each("--cache-to", &build.cache_to);
    options.each("--ulimit", &build.ulimits);
    options.each("--allow", &build.allow);
    for (name, place) in &build.contexts {
        options.add("--build-context", format!("{name}={place}"));
    }
    if let Some(size) = build.shm_size {
        options.add("--shm-size", size.to_string());
    }
    if is(10) {
        options.flag("--provenance", "false");
    }
    let mut after = Vec::new();
    let has_archive = build.outputs.iter().any(|output| matches!(output, Output::DockerArchive(_)));
    // Docker's own builder leaves images with Docker, which then writes the archive.
    let saves = has_archive && is_dockers_own(docker, builder);
    for output in &build.outputs {
        let value = match output {
            Output::Load => OsString::from("type=docker"),
            Output::Push => OsString::from("type=registry"),
            Output::DockerArchive(to) if saves => {
                after.push(After::Save(to.clone()));
                if build.outputs.contains(&Output::Load) {
                    continue;
                }
                OsString::from("type=docker")
            }
            Output::DockerArchive(to) => joined("type=docker,dest=", to_text(to)),
            Output::OciArchive(to) => joined("type=oci,dest=", to_text(to)),
            Output::OciFolder(path) => joined("type=oci,tar=false,dest=", path),
            Output::Tar(to) => joined("type=tar,dest=", to_text(to)),
            Output::Folder(path) => joined("type=local,dest=", path),
        };
        options.add("--output", value);
    }
    let metadata = folder.join("metadata.json");
    options.add("--metadata-file", &metadata);
    // Otherwise it asks the builder for the build's history, only to put it into that file.
    options.environment.push(("BUILDX_METADATA_PROVENANCE".to_owned(), "disabled".to_owned()));
    let stdout = !saves && build.outputs.iter().any(Output::is_stdout);
    options.into_job(docker, &["buildx", "build"], build, folder, stdout, Answer::Metadata(metadata), after)
}

/// `docker build` with BuildKit inside.
pub(super) fn classic(
    client: &Client,
    docker: &Path,
    build: &DockerBuild,
    folder: &Path,
) -> Result<Job, BuildKitError> {
    let files = build.outputs.iter().filter(|output| !output.is_image()).count();
    let oci = |output: &Output| matches!(output, Output::OciArchive(_) | Output::OciFolder(_));
    unsupported(
        client,
        &[
            ("--cache-to", !build.cache_to.is_empty()),
            ("more than one --platform", build.platforms.len() > 1),
            ("--build-context", !build.contexts.is_empty()),
            ("--shm-size", build.shm_size.is_some()),
            ("--ulimit", !build.ulimits.is_empty()),
            ("--allow", !build.allow.is_empty()),
            ("--output type=oci", build.outputs.iter().any(oci)),
            ("more than one output", files > 0 && build.outputs.len() > 1),
        ],
    )?;
    let mut options = Options::default();
    options.flag("--progress", "plain");
    options.common(build);
    options.each("--platform", &build.platforms.iter().map(ToString::to_string).collect::<Vec<_>>());
    let mut after = Vec::new();
    for output in &build.outputs {
        match output {
            // That is where this client leaves images.
            Output::Load => {}
            Output::Push => after.push(After::Push),
            Output::DockerArchive(to) => after.push(After::Save(to.clone())),
            Output::Tar(to) => options.add("--output", joined("type=tar,dest=", to_text(to))),
            Output::Folder(path) => options.add("--output", joined("type=local,dest=", path)),
            Output::OciArchive(_) | Output::OciFolder(_) => unreachable!("refused above"),
        }
    }
    let id = folder.join("id");
    if files == 0 {
        options.add("--iidfile", &id);
    }
    options.environment.push(("DOCKER_BUILDKIT".to_owned(), "1".to_owned()));
    let stdout = matches!(build.outputs[..], [Output::Tar(To::Stdout)]);
    options.into_job(docker, &["build"], build, folder, stdout, Answer::Id(id), after)
}

/// Whether the builder is the BuildKit inside of the Docker daemon.
fn is_dockers_own(docker: &Path, builder: Option<&str>) -> bool {
    let mut command = Command::new(docker);
    command.args(["buildx", "inspect"]).args(builder).stdin(Stdio::null()).stderr(Stdio::null());
    command.output().is_ok_and(|output| {
        let said = String::from_utf8_lossy(&output.stdout);
        said.lines().any(|line| line.strip_prefix("Driver:").is_some_and(|driver| driver.trim() == "docker"))
    })
}

/// Arguments and variables of a docker client.
#[derive(Default)]
struct Options {
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
}

impl Options {
    fn add(&mut self, option: &str, value: impl Into<OsString>) {
        self.arguments.extend([OsString::from(option), value.into()]);
    }

    /// An option that takes its value with `=` only.
    fn flag(&mut self, option: &str, value: &str) {
        self.arguments.push(OsString::from(format!("{option}={value}")));
    }

    fn each(&mut self, option: &str, values: &[String]) {
        values.iter().for_each(|value| self.add(option, value));
    }

    /// What every docker client understands.
    fn common(&mut self, build: &DockerBuild) {
        if let Some(target) = &build.target {
            self.add("--target", target);
        }
        self.each("--tag", &build.tags);
        for (key, value) in &build.labels {
            self.add("--label", format!("{key}={value}"));
        }
        for (name, value) in &build.arguments {
            match value {
                BuildArgument::FromEnvironment => self.add("--build-arg", name),
                BuildArgument::Value(value) if is_of_client(name) => {
                    self.add("--build-arg", format!("{name}={value}"));
                }
                // Everybody on this machine can read arguments.
                BuildArgument::Value(value) => {
                    self.add("--build-arg", name);
                    self.environment.push((name.clone(), value.clone()));
                }
            }
        }
        self.each("--secret", &build.secrets);
        self.each("--ssh", &build.ssh);
        self.each("--cache-from", &build.cache_from);
        self.each("--add-host", &build.extra_hosts);
        if let Some(network) = &build.network {
            self.add("--network", network);
        }
        if build.no_cache {
            self.arguments.push("--no-cache".into());
        }
        if build.pull {
            self.arguments.push("--pull".into());
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a job meet here")]
    fn into_job(
        mut self,
        docker: &Path,
        command: &[&str],
        build: &DockerBuild,
        folder: &Path,
        stdout: bool,
        answer: Answer,
        after: Vec<After>,
    ) -> Result<Job, BuildKitError> {
        self.add("--file", dockerfile(build, folder)?);
        self.arguments.push("--".into());
        self.arguments.push(match &build.context {
            Context::Folder(folder) => folder.clone().into_os_string(),
            Context::Url(url) => url.into(),
        });
        self.environment.push(("DOCKER_CLI_HINTS".to_owned(), "false".to_owned()));
        let arguments = command.iter().map(OsString::from).chain(self.arguments).collect();
        let is_image = build.outputs.is_empty() || build.outputs.iter().any(Output::is_image);
        Ok(Job {
            program: docker.to_owned(),
            arguments,
            environment: self.environment,
            stdout,
            answer: is_image.then_some(answer),
            after,
        })
    }
}
