//! The values of the templates of compose file, Makefile and CI workflow.

use serde::Serialize;

use crate::config::Healthcheck;
use crate::plan::{CargoPlan, Service};

use super::Layout;
use super::dockerfile::{DockerfileValues, duration};

#[derive(Debug, Clone, Serialize)]
pub(super) struct ComposeValues {
    /// Relative to the file that says so.
    context: String,
    /// Relative to the context; `None` if it is the context's own.
    dockerfile: Option<String>,
    build_arguments: Vec<String>,
    secrets: Vec<String>,
    services: Vec<ServiceValues>,
    volumes: Vec<String>,
    help_width: usize,
}

#[derive(Debug, Clone, Serialize)]
struct ServiceValues {
    name: String,
    /// With its tag.
    image: String,
    ports: Vec<String>,
    volumes: Vec<Volume>,
    healthcheck: Option<HealthcheckValues>,
    /// Whether it is meant to run on and on.
    restarts: bool,
}

#[derive(Debug, Clone, Serialize)]
struct Volume {
    name: String,
    path: String,
}

#[derive(Debug, Clone, Serialize)]
struct HealthcheckValues {
    test: String,
    settings: Vec<Setting>,
}

#[derive(Debug, Clone, Serialize)]
struct Setting {
    name: &'static str,
    value: String,
}

pub(super) fn values(plan: &CargoPlan, dockerfile: &DockerfileValues, layout: &Layout) -> ComposeValues {
    let services: Vec<ServiceValues> = plan.services.iter().map(service).collect();
    let volumes = services.iter().flat_map(|service| &service.volumes).map(|volume| volume.name.clone());
    ComposeValues {
        context: super::relative(&layout.context, &plan.root),
        dockerfile: (!layout.prefix.is_empty()).then(|| format!("{}Dockerfile", layout.prefix)),
        build_arguments: dockerfile.build_arguments.clone(),
        secrets: dockerfile.secrets.clone(),
        volumes: volumes.collect(),
        help_width: services.iter().map(|service| service.name.len()).max().unwrap_or(0) + "build-".len() + 1,
        services,
    }
}

impl ComposeValues {
    /// The same for a file in a folder from which the workspace is `workspace`.
    pub(super) fn seen_from(&self, workspace: &str) -> Self {
        let join = |path: &str| match (workspace, path) {
            (".", path) => path.to_owned(),
            (workspace, ".") => workspace.to_owned(),
            (workspace, path) => format!("{workspace}/{path}"),
        };
        let dockerfile = join("Dockerfile");
        let is_default = self.dockerfile.is_none();
        Self {
            context: join(&self.context),
            dockerfile: (!is_default).then_some(dockerfile),
            services: self
                .services
                .iter()
                .map(|service| {
                    let image = service.image.split(":${").next().unwrap_or_default().to_owned();
                    ServiceValues { image: format!("{image}:latest"), ..service.clone() }
                })
                .collect(),
            ..self.clone()
        }
    }
}

fn service(service: &Service) -> ServiceValues {
    let config = &service.config;
    let name = &service.binary;
    let port = |port: &crate::config::Port| {
        let protocol = port.to_string().replace("/tcp", "").replace(&port.number.to_string(), "");
        text(&format!("{0}:{0}{protocol}", port.number))
    };
    let volumes = config.volumes.iter().map(|path| Volume {
        name: format!("{name}{}", path.as_str().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")),
        path: path.to_string(),
    });
    let healthcheck = config.healthcheck.as_ref().and_then(healthcheck);
    ServiceValues {
        name: name.clone(),
        image: format!("{}:${{TAG:-latest}}", service.image),
        ports: config.ports.iter().map(port).collect(),
        volumes: volumes.collect(),
        restarts: !config.ports.is_empty() || healthcheck.is_some(),
        healthcheck,
    }
}

fn healthcheck(healthcheck: &Healthcheck) -> Option<HealthcheckValues> {
    // `start_interval` is newer than the compose that these files are for.
    let Healthcheck::Command { cmd, interval, timeout, start_period, start_interval: _, retries } =
        healthcheck
    else {
        return None;
    };
    let words = std::iter::once("CMD").chain(cmd.iter().map(String::as_str)).map(text);
    let times = [("interval", interval), ("timeout", timeout), ("start_period", start_period)];
    let times =
        times.into_iter().filter_map(|(name, time)| Some(Setting { name, value: duration((*time)?) }));
    let retries = retries.map(|retries| Setting { name: "retries", value: retries.to_string() });
    Some(HealthcheckValues {
        test: format!("[{}]", words.collect::<Vec<_>>().join(", ")),
        settings: times.chain(retries).collect(),
    })
}

/// A text for YAML, in which compose replaces nothing.
fn text(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}
