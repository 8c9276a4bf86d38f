//! Services that have a Dockerfile: what compose says, in docker's words.

use std::collections::BTreeSet;
use std::path::PathBuf;

use carrack_buildkit as buildkit;
use carrack_docker::compose::{Build, Context, Dockerfile, NamedContext, Project, SecretSource, Service};

use super::{sort, tagged, tags};
use crate::failure::Failure;

/// The build of a service that has a `build` section.
pub(super) fn build(
    service: &Service,
    build: &Build,
    project: &Project,
) -> Result<buildkit::DockerBuild, Failure> {
    let context = match &build.context {
        Context::Folder(folder) => buildkit::Context::Folder(folder.clone()),
        Context::Remote(address) => buildkit::Context::Url(address.clone()),
    };
    let dockerfile = match (&build.dockerfile, &build.context) {
        (Dockerfile::Inline(text), _) => buildkit::Dockerfile::Text { text: text.clone(), ignore: None },
        (Dockerfile::File(file), Context::Folder(folder)) => buildkit::Dockerfile::File(folder.join(file)),
        (Dockerfile::File(file), Context::Remote(_)) => buildkit::Dockerfile::File(PathBuf::from(file)),
    };
    let contexts = build.additional_contexts.iter().map(|(name, context)| {
        let source = match context {
            NamedContext::Folder(folder) => folder.display().to_string(),
            NamedContext::Remote(address) => address.clone(),
            NamedContext::Service { name, .. } => {
                let image = project.services.get(name).map(|service| service.image_name(&project.name));
                format!("docker-image://{}", tagged(&image.unwrap_or_default())?)
            }
        };
        Ok((name.clone(), source))
    });
    let secrets = build.secrets.iter().filter_map(|secret| match &secret.source {
        SecretSource::File(path) => Some(format!("id={},src={}", secret.id, path.display())),
        SecretSource::Variable(name) => Some(format!("id={},env={name}", secret.id)),
        SecretSource::External => None,
    });
    let argument =
        |(name, value): (&String, &String)| (name.clone(), buildkit::BuildArgument::Value(value.clone()));
    let ssh = build.ssh.iter().map(|(id, path)| match path {
        Some(path) => format!("{id}={path}"),
        None => id.clone(),
    });
    let privileged = build.privileged.then(|| "security.insecure".to_owned());
    Ok(buildkit::DockerBuild {
        name: service.name.clone(),
        context,
        dockerfile,
        target: build.target.clone(),
        tags: tags(service, build, &project.name)?,
        labels: build.labels.clone(),
        arguments: build.args.iter().map(argument).collect(),
        secrets: secrets.collect(),
        ssh: ssh.collect(),
        cache_from: build.cache_from.clone(),
        cache_to: build.cache_to.clone(),
        platforms: sort::platforms(service, build)?,
        no_cache: build.no_cache,
        pull: build.pull,
        network: build.network.clone(),
        extra_hosts: build.extra_hosts.iter().map(|host| host.replacen('=', ":", 1)).collect(),
        shm_size: build.shm_size,
        ulimits: build
            .ulimits
            .iter()
            .map(|(name, limit)| format!("{name}={}:{}", limit.soft, limit.hard))
            .collect(),
        contexts: contexts.collect::<Result<_, Failure>>()?,
        allow: build.entitlements.iter().cloned().chain(privileged).collect(),
        outputs: vec![buildkit::Output::Load],
    })
}

/// Variables that a build's secrets come from.
pub(super) fn secret_variables(build: &Build) -> impl Iterator<Item = &str> {
    build.secrets.iter().filter_map(|secret| match &secret.source {
        SecretSource::Variable(name) => Some(name.as_str()),
        SecretSource::File(_) | SecretSource::External => None,
    })
}

/// The services whose images a build begins with.
pub(super) fn needs(build: &Build) -> BTreeSet<&str> {
    let contexts = build.additional_contexts.values();
    contexts
        .filter_map(|context| match context {
            NamedContext::Service { name, .. } => Some(name.as_str()),
            NamedContext::Folder(_) | NamedContext::Remote(_) => None,
        })
        .collect()
}
