//! Which program is taken.

use std::path::{Path, PathBuf};

use carrack_buildkit::{BuildKitError, Client, Programs, Wanted, Why};
use carrack_testkit::{has_program, skipped};

const DOCKER: &str = "/usr/bin/docker";

fn find(docker: &[&str], wanted: &Wanted) -> Result<Client, BuildKitError> {
    let docker = docker.iter().map(PathBuf::from).collect();
    Client::find(&Programs { docker, buildctl: None }, wanted)
}

fn any() -> Wanted {
    Wanted::Docker { builder: None }
}

#[test]
fn the_first_that_can_is_taken() {
    if !Path::new(DOCKER).exists() || !has_program("podman") {
        return skipped("the_first_that_can_is_taken", "docker.io or podman is not installed");
    }
    // Podman can be installed under docker's name.
    let client = find(&["/usr/bin/podman", "/usr/bin/true", "/nowhere", DOCKER], &any()).unwrap();
    let (Client::Buildx { docker, .. } | Client::Classic { docker, .. }) = client else {
        panic!("{client:?}")
    };
    assert_eq!(docker, Path::new(DOCKER));
    let error = find(&["/usr/bin/podman", "/usr/bin/true"], &any()).unwrap_err();
    let BuildKitError::NoClient { tried } = error else { panic!("{error:?}") };
    assert!(matches!(&tried[0].why, Why::NotDocker(said) if said.starts_with("podman version")), "{tried:?}");
}

#[test]
fn builders_by_name_need_buildx() {
    if !Path::new(DOCKER).exists() {
        return skipped("builders_by_name_need_buildx", "docker.io is not installed");
    }
    let wanted = Wanted::Docker { builder: Some("kube".to_owned()) };
    match find(&[DOCKER], &wanted) {
        Ok(Client::Buildx { builder, .. }) => assert_eq!(builder.as_deref(), Some("kube")),
        Err(BuildKitError::NoClient { tried }) => {
            assert!(matches!(tried[0].why, Why::NoBuilders { .. } | Why::NoBuildx { .. }))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_needs_buildctl() {
    let wanted = Wanted::BuildKit { address: Some("tcp://127.0.0.1:1".to_owned()), builder: None };
    let error = find(&[DOCKER], &wanted).unwrap_err();
    assert!(
        matches!(&error, BuildKitError::NoBuildctl { address } if address == "tcp://127.0.0.1:1"),
        "{error:?}"
    );
}
