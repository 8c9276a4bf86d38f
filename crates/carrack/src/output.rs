//! `--output`: where images go, in docker's words.

use std::path::PathBuf;
use std::str::FromStr;

/// One place where images go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) kind: OutputKind,
    pub(crate) to: Destination,
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// An OCI layout as a folder.
    OciFolder,
    /// An OCI layout as a tar archive.
    OciTar,
    /// An archive for `docker load`.
    Docker,
    /// The root file system as a tar archive.
    Tar,
    /// The root file system as a folder.
    Local,
}

/// Where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A file or folder.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

impl FromStr for Output {
    type Err = String;

    /// `type=oci|docker|tar|local,dest=PATH[,tar=false]`; `PATH` alone is a folder and `-` alone a tar on standard
    /// output, as with docker.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains('=') {
            return Ok(match text {
                "" => {
                    return Err("a folder, `-` or type=oci|docker|tar|local,dest=PATH is missing".to_owned());
                }
                "-" => Self { kind: OutputKind::Tar, to: Destination::Stdout },
                path => Self { kind: OutputKind::Local, to: Destination::Path(PathBuf::from(path)) },
            });
        }
        let (mut kind, mut dest, mut archive) = (None, None, true);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("type", name)) => kind = Some(name),
                Some(("dest", path)) => dest = Some(path),
                Some(("tar", "true")) => archive = true,
                Some(("tar", "false")) => archive = false,
                _ => return Err(format!("`{part}` is none of type=, dest= and tar=true|false")),
            }
        }
        let kind = match (kind, archive) {
            (Some("oci"), true) => OutputKind::OciTar,
            (Some("oci"), false) => OutputKind::OciFolder,
            (Some("docker"), true) => OutputKind::Docker,
            (Some("tar"), true) => OutputKind::Tar,
            (Some("local"), true) => OutputKind::Local,
            (Some("docker" | "tar" | "local"), false) => {
                return Err("tar=false goes with type=oci only".to_owned());
            }
            (Some(name), _) => return Err(format!("`{name}` is none of oci, docker, tar and local")),
            (None, _) => return Err("type= is missing: oci, docker, tar or local".to_owned()),
        };
        let to = match dest {
            Some("-") => Destination::Stdout,
            Some(path) if !path.is_empty() => Destination::Path(PathBuf::from(path)),
            _ => return Err("dest= is missing".to_owned()),
        };
        if to == Destination::Stdout && matches!(kind, OutputKind::OciFolder | OutputKind::Local) {
            return Err("a folder can't go to standard output".to_owned());
        }
        Ok(Self { kind, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_as_docker_reads_them() {
        let path = |kind, path: &str| Ok(Output { kind, to: Destination::Path(PathBuf::from(path)) });
        assert_eq!("out".parse(), path(OutputKind::Local, "out"));
        assert_eq!("-".parse(), Ok(Output { kind: OutputKind::Tar, to: Destination::Stdout }));
        assert_eq!("type=oci,dest=a.tar".parse(), path(OutputKind::OciTar, "a.tar"));
        assert_eq!("type=oci,dest=a,tar=false".parse(), path(OutputKind::OciFolder, "a"));
        for wrong in
            ["type=", "type=zip,dest=a", "dest=a", "type=oci", "type=local,dest=-", "type=oci,dest=a,push=1"]
        {
            assert!(wrong.parse::<Output>().is_err(), "{wrong}");
        }
    }
}
