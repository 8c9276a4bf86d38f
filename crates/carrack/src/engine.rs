//! `--engine`: who builds, and through which program.

use std::str::FromStr;

use carrack_buildkit::{Client, Programs, Wanted};

use crate::caller::Caller;
use crate::failure::Failure;

/// Who builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineName {
    /// Carrack itself.
    Embedded,
    /// Docker, or a builder of docker buildx.
    Docker,
    /// Any BuildKit; at this address, if there is one.
    BuildKit(Option<String>),
}

impl FromStr for EngineName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=').map_or((text, None), |(name, address)| (name, Some(address))) {
            ("embedded", None) => Ok(Self::Embedded),
            ("docker", None) => Ok(Self::Docker),
            ("buildkit", None) => Ok(Self::BuildKit(None)),
            ("buildkit", Some(address)) if !address.is_empty() => {
                Ok(Self::BuildKit(Some(address.to_owned())))
            }
            _ => Err("expected embedded, docker, buildkit or buildkit=ADDRESS".to_owned()),
        }
    }
}

/// The program through which an engine of Docker's is driven.
///
/// Errors: none of the caller's programs can.
pub(crate) fn client(caller: &Caller, engine: &EngineName, builder: Option<&str>) -> Result<Client, Failure> {
    let builder = builder.map(str::to_owned);
    let wanted = match engine {
        EngineName::BuildKit(address) => Wanted::BuildKit { address: address.clone(), builder },
        EngineName::Docker | EngineName::Embedded => Wanted::Docker { builder },
    };
    let programs = Programs { docker: caller.programs("docker"), buildctl: caller.program("buildctl") };
    Ok(Client::find(&programs, &wanted)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!("docker".parse(), Ok(EngineName::Docker));
        let address = Some("unix:///run/a=b".to_owned());
        assert_eq!("buildkit=unix:///run/a=b".parse(), Ok(EngineName::BuildKit(address)));
        for wrong in ["", "podman", "docker=x", "buildkit=", "Embedded"] {
            assert!(wrong.parse::<EngineName>().is_err(), "{wrong}");
        }
    }
}
