//! `--check` and `--call`: what is done with a Dockerfile.

use std::str::FromStr;

/// What `--call` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Whether the answer is for a program.
    pub(crate) is_json: bool,
}

/// What is done with a Dockerfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// It is built.
    Build,
    /// Docker's checks are made.
    Check,
    /// The arguments, secrets, agents and caches of the wanted stage are listed.
    Outline,
    /// The stages are listed.
    Targets,
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(',');
        let method = match parts.next().unwrap_or_default() {
            "build" => Method::Build,
            "check" | "lint" => Method::Check,
            "outline" => Method::Outline,
            "targets" => Method::Targets,
            _ => return Err("expected build, check, outline or targets".to_owned()),
        };
        let mut call = Self { method, is_json: false };
        for part in parts {
            call.is_json = match part {
                "format=json" => true,
                "format=text" => false,
                _ => return Err("expected `,format=json` behind it".to_owned()),
            };
        }
        Ok(call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        let outline = Call { method: Method::Outline, is_json: true };
        assert_eq!("outline,format=json".parse(), Ok(outline));
        assert_eq!("lint".parse(), Ok(Call { method: Method::Check, is_json: false }));
        for wrong in ["", "Check", "check,format=yaml", "check,json"] {
            assert!(wrong.parse::<Call>().is_err(), "{wrong}");
        }
    }
}
