//! The caches that machines share, as options, configuration and environment name them.

use std::sync::Arc;
use std::time::Duration;

use carrack_base::nearest;
use carrack_cargo::config::WorkspaceConfig;
use carrack_engine::{Mode, Shared, SharedCaches};
use carrack_oci::registry::{AskCredentials, Credentials};
use carrack_oci::transport::{Roots, TransportOptions};
use carrack_remote::signature::{PublicKey, SecretKey};
use carrack_remote::{Access, Limits, Location, Remote, S3Keys};
use docker_credential::DockerCredential;

use crate::caller::Caller;
use crate::failure::Failure;

/// What a job may do with shared caches: `read-write`, `read-only` or `off`.
pub(crate) const MODE: &str = "CARRACK_CACHE";
/// The secret key that signs what is published.
pub(crate) const SIGNING_KEY: &str = "CARRACK_CACHE_SIGNING_KEY";

/// A cache to read and one to write to, where no option names any.
const FROM: &str = "CARRACK_CACHE_FROM";
const TO: &str = "CARRACK_CACHE_TO";

const MODES: [&str; 3] = ["read-write", "read-only", "off"];

/// The caches that a build asks and fills, and whom it trusts there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CacheChoice {
    from: Vec<String>,
    to: Vec<String>,
    trusted: Vec<String>,
}

impl CacheChoice {
    /// The caches that options name, or else the environment, or else the configuration. Whom to trust, the configuration
    /// alone says.
    pub(crate) fn of(
        from: &[String],
        to: &[String],
        config: Option<&WorkspaceConfig>,
        caller: &Caller,
    ) -> Self {
        let first = |given: &[String], variable: &str, configured: fn(&WorkspaceConfig) -> &[String]| {
            let given = (!given.is_empty()).then(|| given.to_vec());
            let named = || caller.text(variable).map(|text| vec![text]);
            given.or_else(named).unwrap_or_else(|| config.map(configured).unwrap_or_default().to_vec())
        };
        Self {
            from: first(from, FROM, |config| &config.cache_from),
            to: first(to, TO, |config| &config.cache_to),
            trusted: config.map(|config| config.cache_trust.clone()).unwrap_or_default(),
        }
    }

    /// Takes on what another build asks. `false` if that fills other caches or trusts others: then they can't share what
    /// they find and make.
    pub(crate) fn join(&mut self, other: &Self) -> bool {
        let agrees = (&self.to, &self.trusted) == (&other.to, &other.trusted);
        if agrees {
            let further: Vec<String> =
                other.from.iter().filter(|place| !self.from.contains(place)).cloned().collect();
            self.from.extend(further);
        }
        agrees
    }

    /// Errors: a location, a key or a mode that makes no sense. Whether a cache answers shows later, and fails nothing.
    pub(crate) fn open(&self, caller: &Caller) -> Result<SharedCaches, Failure> {
        let mode = caller.text(MODE).unwrap_or_else(|| "read-write".to_owned());
        if !MODES.contains(&mode.as_str()) {
            return Err(Failure::CacheMode { nearest: nearest(&mode, MODES), mode });
        }
        if mode == "off" {
            return Ok(SharedCaches::default());
        }
        let to = if mode == "read-only" { &[][..] } else { &self.to };
        if self.from.is_empty() && to.is_empty() {
            return Ok(SharedCaches::default());
        }
        open(&self.from, to, &self.trusted, caller)
    }
}

fn open(
    from: &[String],
    to: &[String],
    trusted: &[String],
    caller: &Caller,
) -> Result<SharedCaches, Failure> {
    let mode = published(to)?;
    let access = access(trusted, caller)?;
    let limits = Limits { transport: transport(caller), ..Limits::default() };
    let open = |text: &String| -> Result<Shared, Failure> {
        let location: Location = without_mode(text)
            .parse()
            .map_err(|source| Failure::CacheLocation { text: text.clone(), source })?;
        let kind = match location {
            Location::Registry { .. } => "registry",
            Location::S3 { .. } => "s3",
            Location::Folder { .. } => "folder",
        };
        let remote = Remote::open(&location, &access, &limits)
            .map_err(|source| Failure::CacheUnusable { text: text.clone(), source })?;
        Ok(Shared { remote, kind })
    };
    let all = |texts: &[String]| texts.iter().map(open).collect::<Result<Vec<_>, _>>();
    let mut caches = SharedCaches::new(all(from)?, all(to)?);
    caches.mode = mode;
    Ok(caches)
}

/// `mode=min`, `mode=max`, as BuildKit has it: how much of the steps of Dockerfiles is published.
fn published(to: &[String]) -> Result<Mode, Failure> {
    let said =
        to.iter().flat_map(|text| text.split(',')).filter_map(|part| part.trim().strip_prefix("mode="));
    let mut mode = Mode::Min;
    for word in said {
        mode = match word {
            "min" => mode,
            "max" => Mode::Max,
            other => {
                return Err(Failure::BadOption {
                    option: "mode of --cache-to",
                    value: other.to_owned(),
                    why: "expected min or max".to_owned(),
                });
            }
        };
    }
    Ok(mode)
}

/// A place of `--cache-to` without what BuildKit says there about how much is published.
pub(crate) fn without_mode(text: &str) -> String {
    let parts = text.split(',').filter(|part| !part.trim().starts_with("mode="));
    parts.collect::<Vec<_>>().join(",")
}

fn access(trusted: &[String], caller: &Caller) -> Result<Access, Failure> {
    let trusted = trusted.iter().map(|text| {
        text.parse::<PublicKey>()
            .map_err(|source| Failure::CacheKey { place: format!("`cache-trust = [\"{text}\"]`"), source })
    });
    let signing = caller.text(SIGNING_KEY).map(|text| {
        text.parse::<SecretKey>()
            .map_err(|source| Failure::CacheKey { place: SIGNING_KEY.to_owned(), source })
    });
    let s3_keys = caller.text("AWS_ACCESS_KEY_ID").zip(caller.text("AWS_SECRET_ACCESS_KEY"));
    let session_token = caller.text("AWS_SESSION_TOKEN");
    let registry_credentials: Arc<AskCredentials> = Arc::new(credentials);
    Ok(Access {
        registry_credentials,
        s3_keys: s3_keys.map(|(access_key_id, secret_access_key)| S3Keys {
            access_key_id,
            secret_access_key,
            session_token,
        }),
        trusted: trusted.collect::<Result<_, _>>()?,
        signing: signing.transpose()?,
    })
}

/// What docker or podman know about a registry; neither is an error.
pub(crate) fn credentials(host: &str) -> Option<Credentials> {
    // Docker's own registry goes by an older name there.
    let known_as = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
    let found = docker_credential::get_credential(known_as)
        .or_else(|_| docker_credential::get_podman_credential(host))
        .ok()?;
    Some(match found {
        DockerCredential::UsernamePassword(user, password) => Credentials::Password { user, password },
        DockerCredential::IdentityToken(token) => Credentials::IdentityToken(token),
    })
}

/// For caches: one that is slower than this is slower than compiling.
fn transport(caller: &Caller) -> TransportOptions {
    TransportOptions {
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(10),
        attempts: 3,
        ..patient_transport(caller)
    }
}

/// The caller's certificates and proxy, by the names that everyone uses for them.
pub(crate) fn patient_transport(caller: &Caller) -> TransportOptions {
    let mut options = TransportOptions::default();
    let bundle = ["SSL_CERT_FILE", "CARGO_HTTP_CAINFO"].iter().find_map(|name| caller.variable(name));
    if let Some(bytes) = bundle.and_then(|path| std::fs::read(path).ok()) {
        options.roots = Roots::Pem(bytes);
    }
    let proxies = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    options.proxy = proxies.iter().find_map(|name| caller.text(name));
    options
}
