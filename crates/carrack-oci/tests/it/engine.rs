//! Talking to engines, with scripts in their place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use carrack_oci::{
    CarrierError, Destination, EngineError, EngineKind, EngineProgram, NamedImage, docker_tar, load, probe,
};

use crate::{Blobs, names, sample_image};

const LONG: Duration = Duration::from_secs(60);

fn engine(folder: &Path, kind: EngineKind, script: &str) -> EngineProgram {
    let program = folder.join("engine");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    EngineProgram { kind, program, environment: vec![("ENGINE_TEST".into(), folder.into())] }
}

#[test]
fn an_engine_that_answers_gives_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let docker = engine(folder.path(), EngineKind::Docker, r#"echo "$*""#);
    assert_eq!(probe(&docker, LONG).unwrap(), "version --format {{.Server.Version}}");
    let podman = EngineProgram { kind: EngineKind::Podman, ..docker };
    assert_eq!(probe(&podman, LONG).unwrap(), "version --format {{.Client.Version}}");
}

#[test]
fn engines_that_do_not_answer_say_how() {
    let folder = tempfile::tempdir().unwrap();
    let refusing =
        engine(folder.path(), EngineKind::Docker, "echo 'Cannot connect to the daemon' >&2; exit 7");
    let error = probe(&refusing, LONG).unwrap_err();
    assert!(matches!(error, EngineError::Failed { stderr, status, .. }
        if stderr.contains("Cannot connect") && status.code() == Some(7)));

    let hanging = engine(folder.path(), EngineKind::Docker, "exec sleep 1000");
    let error = probe(&hanging, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, EngineError::Timeout { .. }));

    let missing = EngineProgram { program: folder.path().join("missing"), ..hanging };
    assert!(matches!(probe(&missing, LONG).unwrap_err(), EngineError::Start { .. }));
}

#[test]
fn an_engine_gets_the_archive_and_its_environment() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let names = names(&["server"]);
    let images = [NamedImage { image: &image, names: &names }];
    let script =
        r#"test "$1" = load || exit 9; cat > "$ENGINE_TEST/received"; echo "Loaded image: server:latest""#;
    let docker = engine(folder.path(), EngineKind::Docker, script);
    assert_eq!(load(&docker, &images, &blobs).unwrap(), "Loaded image: server:latest");
    let mut expected = Vec::new();
    docker_tar(Destination::Stream(&mut expected), &images, &blobs).unwrap();
    assert_eq!(fs::read(folder.path().join("received")).unwrap(), expected);
}

#[test]
fn an_engine_that_refuses_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let layer = blobs.add_tar(&crate::binary_like(4 << 20));
    let image = crate::image(&[layer]);
    let images = [NamedImage { image: &image, names: &[] }];
    // It stops reading long before the archive's end.
    let refusing = engine(folder.path(), EngineKind::Podman, "echo 'no space left' >&2; exit 125");
    let error = load(&refusing, &images, &blobs).unwrap_err();
    assert!(matches!(error, EngineError::Failed { stderr, .. } if stderr.contains("no space left")));
    let lying = engine(folder.path(), EngineKind::Podman, "exit 0");
    assert!(matches!(load(&lying, &images, &blobs).unwrap_err(), EngineError::Pipe { .. }));
}

#[test]
fn a_damaged_image_is_not_the_engines_fault() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    blobs.0.remove(&image.layers()[0].descriptor.digest);
    let docker = engine(folder.path(), EngineKind::Docker, "cat > /dev/null");
    let error = load(&docker, &[NamedImage { image: &image, names: &[] }], &blobs).unwrap_err();
    assert!(matches!(error, EngineError::Image(CarrierError::Blob(_))));
}
