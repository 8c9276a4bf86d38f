use super::*;

/// `buildctl build` with the Dockerfile frontend.
pub(super) fn job(
    client: &Client,
    program: &Path,
    address: Option<&str>,
    build: &DockerBuild,
    folder: &Path,
) -> Result<Job, BuildKitError> {
    let from_environment = |value: &BuildArgument| *value == BuildArgument::FromEnvironment;
    unsupported(
        client,
        &[
            // It takes values as arguments only, where everybody can read them.
            ("--build-arg NAME without a value", build.arguments.values().any(from_environment)),
            (
                "--load without a docker client",
                build.outputs.contains(&Output::Load) && client.docker().is_none(),
            ),
        ],
    )?;
    let mut arguments = Arguments(Vec::new());
    if let Some(address) = address {
        arguments.add("--addr", address);
    }
    arguments.0.push("build".into());
    arguments.add("--progress", if client.has_rawjson() { "rawjson" } else { "plain" });
    arguments.add("--frontend", "dockerfile.v0");

    let file = dockerfile(build, folder)?;
    match &build.context {
        Context::Folder(context) => {
            arguments.add("--local", joined("context=", context));
            let above = file.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            arguments.add("--local", joined("dockerfile=", above));
            arguments.option("filename=", file.file_name().unwrap_or_default());
        }
        Context::Url(url) => {
            arguments.option("context=", url);
            match &build.dockerfile {
                Dockerfile::File(file) => arguments.option("filename=", file),
                Dockerfile::Text { .. } => {
                    arguments.add("--local", joined("dockerfile=", folder));
                    arguments.option("dockerfilekey=", "dockerfile");
                }
            }
        }
    }
    arguments.instructions(build);

    let mut after = Vec::new();
    let names = build.tags.join(",");
    let named =
        |kind: &str| if names.is_empty() { kind.to_owned() } else { format!("{kind},\"name={names}\"") };
    for output in &build.outputs {
        let value = match output {
            Output::Load => {
                let archive = folder.join("image.tar");
                let value = joined(&format!("{},dest=", named("type=docker")), &archive);
                after.push(After::Load(archive));
                value
            }
            Output::Push => OsString::from(format!("{},push=true", named("type=image"))),
            Output::DockerArchive(to) => joined(&format!("{},dest=", named("type=docker")), to_text(to)),
            Output::OciArchive(to) => joined(&format!("{},dest=", named("type=oci")), to_text(to)),
            Output::OciFolder(path) => joined(&format!("{},tar=false,dest=", named("type=oci")), path),
            Output::Tar(to) => joined("type=tar,dest=", to_text(to)),
            Output::Folder(path) => joined("type=local,dest=", path),
        };
        arguments.add("--output", value);
    }
    let metadata = folder.join("metadata.json");
    arguments.add("--metadata-file", &metadata);
    let is_image = build.outputs.iter().any(Output::is_image);
    Ok(Job {
        program: program.to_owned(),
        arguments: arguments.0,
        environment: Vec::new(),
        stdout: build.outputs.iter().any(Output::is_stdout),
        answer: is_image.then_some(Answer::Metadata(metadata)),
        after,
    })
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn add(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend([OsString::from(name), value.into()]);
    }

    /// An option of the frontend.
    fn option(&mut self, before: &str, value: impl AsRef<OsStr>) {
        self.add("--opt", joined(before, value));
    }

    /// Everything that decides what the steps are.
    fn instructions(&mut self, build: &DockerBuild) {
        if let Some(target) = &build.target {
            self.option("target=", target);
        }
        for (key, value) in &build.labels {
            self.option("label:", format!("{key}={value}"));
        }
        for (name, value) in &build.arguments {
            if let BuildArgument::Value(value) = value {
                self.option("build-arg:", format!("{name}={value}"));
            }
        }
        for (name, place) in &build.contexts {
            let is_folder = Path::new(place).is_dir();
            if is_folder {
                self.add("--local", format!("{name}={place}"));
            }
            let place = if is_folder { format!("local:{name}") } else { place.clone() };
            self.option("context:", format!("{name}={place}"));
        }
        if !build.platforms.is_empty() {
            let platforms: Vec<String> = build.platforms.iter().map(ToString::to_string).collect();
            self.option("platform=", platforms.join(","));
        }
        if !build.extra_hosts.is_empty() {
            let hosts: Vec<String> =
                build.extra_hosts.iter().map(|host| host.replacen(':', "=", 1)).collect();
            self.option("add-hosts=", hosts.join(","));
        }
        if !build.ulimits.is_empty() {
            self.option("ulimit=", build.ulimits.join(","));
        }
        if let Some(size) = build.shm_size {
            self.option("shm-size=", size.to_string());
        }
        if build.pull {
            self.option("image-resolve-mode=", "pull");
        }
        if let Some(network) = build.network.as_deref().filter(|network| *network != "default") {
            self.option("force-network-mode=", network);
            if network == "host" {
                self.add("--allow", "network.host");
            }
        }
        build.allow.iter().for_each(|allow| self.add("--allow", allow));
        build.secrets.iter().for_each(|secret| self.add("--secret", secret));
        build.ssh.iter().for_each(|ssh| self.add("--ssh", ssh));
        for cache in &build.cache_from {
            let value =
                if cache.contains('=') { cache.clone() } else { format!("type=registry,ref={cache}") };
            self.add("--import-cache", value);
        }
        build.cache_to.iter().for_each(|cache| self.add("--export-cache", cache));
        if build.no_cache {
            self.0.push("--no-cache".into());
        }
    }
}
