//! What doctor can say: the names are stable, `docs/doctor.md` has a row for each.

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) state: State,
    /// What was found, and what follows from it.
    pub(crate) what: String,
    /// The command that mends it.
    pub(crate) hint: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Works, but slower, less isolated or not everywhere; or breaks what the chosen engine does not need.
    Warning,
    /// The chosen engine can't work.
    Broken,
}

impl State {
    /// The stable name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Broken => "broken",
        }
    }
}

/// Under which heading a finding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Rust,
    Sandbox,
    Docker,
    Disk,
    Network,
}

impl Group {
    pub(crate) const ALL: [Self; 5] = [Self::Rust, Self::Sandbox, Self::Docker, Self::Disk, Self::Network];

    /// The heading.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Sandbox => "Sandbox",
            Self::Docker => "Docker",
            Self::Disk => "Disk",
            Self::Network => "Network",
        }
    }
}

macro_rules! checks {
    ($($check:ident = $name:literal in $group:ident,)*) => {
        /// What was looked at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Check {
            $($check,)*
        }

        impl Check {
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$check,)*];

            /// The stable name.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$check => $name,)*
                }
            }

            pub(crate) fn group(self) -> Group {
                match self {
                    $(Self::$check => Group::$group,)*
                }
            }
        }
    };
}

checks! {
    Toolchain = "toolchain" in Rust,
    RustToolchainFile = "rust-toolchain-file" in Rust,
    Workspace = "workspace" in Rust,
    RustVersion = "rust-version" in Rust,
    Linker = "linker" in Rust,
    Target = "target" in Rust,
    Namespaces = "namespaces" in Sandbox,
    Overlay = "overlay" in Sandbox,
    SubordinateIds = "subordinate-ids" in Sandbox,
    DockerClient = "docker-client" in Docker,
    DockerClients = "docker-clients" in Docker,
    DockerDaemon = "docker-daemon" in Docker,
    DockerApi = "docker-api" in Docker,
    Buildkit = "buildkit" in Docker,
    Buildx = "buildx" in Docker,
    Buildctl = "buildctl" in Docker,
    StorageDriver = "storage-driver" in Docker,
    Compose = "compose" in Docker,
    Podman = "podman" in Docker,
    StateFolder = "state-folder" in Disk,
    DiskSpace = "disk-space" in Disk,
    DiskInodes = "disk-inodes" in Disk,
    FileSystem = "file-system" in Disk,
    Unanswered = "unanswered" in Disk,
    PrivateCa = "private-ca" in Network,
    Proxy = "proxy" in Network,
    Ci = "ci" in Network,
}

impl Finding {
    pub(crate) fn new(check: Check, state: State, what: impl Into<String>) -> Self {
        Self { check, state, what: what.into(), hint: None }
    }

    pub(crate) fn hint(mut self, command: impl Into<String>) -> Self {
        self.hint = Some(command.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_has_its_row_in_the_documentation() {
        let page = include_str!("../../../../../docs/doctor.md");
        for check in Check::ALL {
            let row = format!("| `{}` | ", check.name());
            assert!(page.lines().any(|line| line.starts_with(&row)), "docs/doctor.md lacks {}", check.name());
        }
        for line in page.lines().filter_map(|line| line.strip_prefix("| `")) {
            let name = line.split('`').next().unwrap_or_default();
            let known = Check::ALL.iter().any(|check| check.name() == name);
            assert!(known, "docs/doctor.md has a row for {name}, which doctor never says");
        }
    }
}
