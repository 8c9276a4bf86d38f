//! Configurations, manifests and reading images.

use std::collections::{BTreeMap, BTreeSet};

use carrack_base::Digest;
use carrack_oci::wire::{Descriptor, Healthcheck, History, media_type, timestamp};
use carrack_oci::{BlobError, Image, ImageConfig, ImageError};

use crate::{Blobs, config, image, sample_image, sample_layer, write};

#[test]
fn times_are_rfc_3339() {
    let table = [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ];
    for (seconds, text) in table {
        assert_eq!(timestamp(seconds), text);
    }
}

#[test]
fn a_configuration_has_fixed_bytes() {
    let mut config = config();
    config.config.exposed_ports = BTreeSet::from(["9090/tcp".to_owned(), "8080/tcp".to_owned()]);
    config.config.labels =
        BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
    config.config.healthcheck = Some(Healthcheck {
        test: vec!["CMD".to_owned(), "/usr/bin/server".to_owned(), "health".to_owned()],
        interval: 30_000_000_000,
        retries: 3,
        ..Healthcheck::default()
    });
    config.history = vec![History {
        created: Some(timestamp(0)),
        created_by: Some("carrack".to_owned()),
        ..History::default()
    }];
    let (_, written) = write(&sample_layer(), 1);
    let image = Image::assemble(config, &[written.layer], BTreeMap::new());
    let expected = format!(
        concat!(
            r#"{{"created":"1970-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{{"User":"10001:10001","#,
            r#""ExposedPorts":{{"8080/tcp":{{}},"9090/tcp":{{}}}},"Env":["PATH=/usr/bin"],"#,
            r#""Entrypoint":["/usr/bin/server"],"#,
            r#""Healthcheck":{{"Test":["CMD","/usr/bin/server","health"],"Interval":30000000000,"Retries":3}},"#,
            r#""Labels":{{"a":"1","b":"2"}}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"#,
            r#""history":[{{"created":"1970-01-01T00:00:00Z","created_by":"carrack"}}]}}"#
        ),
        image.config().rootfs.diff_ids[0]
    );
    assert_eq!(String::from_utf8_lossy(image.config_bytes()), expected);
    assert_eq!(image.manifest().config.digest, Digest::of(expected.as_bytes()));
}

#[test]
fn what_docker_and_others_add_survives() {
    let text = concat!(
        r#"{"created":"2024-01-01T00:00:00.123456789Z","architecture":"arm","os":"linux","variant":"v7","#,
        r#""config":{"Cmd":["sh"],"ArgsEscaped":true,"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1,"#,
        r#""Timeout":2,"StartPeriod":3,"StartInterval":4,"Retries":5,"New":6},"Volumes":{"/v":{}},"StopTimeout":9,"#,
        r#""OnBuild":["RUN true"],"Shell":["/bin/bash","-c"],"ZNew":{"b":1,"a":2}},"#,
        r#""rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x","empty_layer":true,"new":1}],"#,
        r#""container":"abc","os.version":"1"}"#
    );
    let config: ImageConfig = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&config).unwrap(), text);
    assert_eq!(config.platform().to_string(), "linux/arm/v7");
}

#[test]
fn null_is_what_go_writes_for_nothing() {
    let text = concat!(
        r#"{"architecture":"amd64","os":"linux","config":{"User":"","ExposedPorts":null,"Env":null,"Cmd":null,"#,
        r#""Entrypoint":null,"Volumes":null,"Labels":null,"OnBuild":null,"WorkingDir":""},"#,
        r#""rootfs":{"type":"layers","diff_ids":null},"history":null}"#
    );
    let config: ImageConfig = serde_json::from_str(text).unwrap();
    let expected =
        r#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    assert_eq!(serde_json::to_string(&config).unwrap(), expected);
}

#[test]
fn golden_digests() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let layers = image.layers();
    let found =
        [image.digest(), image.manifest().config.digest, layers[0].diff_id, layers[0].descriptor.digest];
    // A change here changes the digest of every image that anybody has built: it needs a reason.
    let expected = GOLDEN.map(|text| text.parse().unwrap());
    assert_eq!(found, expected);
}

const GOLDEN: [&str; 4] = [
    "sha256:f3fc528de501e71e90831898b86c6e41ee1302693e7dd0603a49ae09a769c1a8",
    "sha256:b5bfcd245e4881e917e25fc44ac275f5a573cfd966ae12c7bfdf6aaf295aca41",
    "sha256:b0188a04e7f0677f5872b91a9854438cae0a111d09cb7983e209232bbfbbed33",
    "sha256:eb2e98371f8fbe1aa36f6ced13f89758be50f2b52c469bd356246aeb59a7ad98",
];

fn stored(blobs: &mut Blobs, image: &Image) -> Descriptor {
    blobs.add(media_type::CONFIG, image.config_bytes());
    blobs.add(media_type::MANIFEST, image.manifest_bytes())
}

#[test]
fn an_image_is_read_back_as_it_was() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let descriptor = stored(&mut blobs, &image);
    assert_eq!(Image::read(&blobs, &descriptor).unwrap(), image);
    assert_eq!(image.layers_size(), image.layers().iter().map(|layer| layer.descriptor.size).sum::<u64>());
    assert_eq!(image.descriptor().digest, descriptor.digest);
}

#[test]
fn dockers_layers_become_ocis() {
    let mut blobs = Blobs::default();
    let mut layers = sample_image(&mut blobs).layers();
    for layer in &mut layers {
        layer.descriptor.media_type = media_type::DOCKER_LAYER_GZIP.to_owned();
    }
    assert!(image(&layers).manifest().layers.iter().all(|layer| layer.media_type == media_type::LAYER_GZIP));
}

#[test]
fn a_damaged_image_is_refused() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let descriptor = stored(&mut blobs, &image);

    let mut damaged = blobs.clone();
    damaged.0.get_mut(&image.manifest().config.digest).unwrap()[3] ^= 1;
    let error = Image::read(&damaged, &descriptor).unwrap_err();
    assert!(
        matches!(error, ImageError::Blob(BlobError::Content { digest, .. }) if digest == image.manifest().config.digest)
    );

    let mut cut = blobs.clone();
    cut.0.get_mut(&descriptor.digest).unwrap().pop();
    let error = Image::read(&cut, &descriptor).unwrap_err();
    assert!(
        matches!(error, ImageError::Blob(BlobError::Size { expected, found, .. }) if expected == found + 1)
    );

    let mut missing = blobs.clone();
    missing.0.remove(&descriptor.digest);
    let error = Image::read(&missing, &descriptor).unwrap_err();
    assert!(matches!(error, ImageError::Blob(BlobError::Read { .. })));

    let large = Descriptor { size: 1 << 40, ..descriptor.clone() };
    assert!(matches!(Image::read(&blobs, &large).unwrap_err(), ImageError::TooLarge { .. }));
}

#[test]
fn what_is_no_image_is_refused() {
    let mut blobs = Blobs::default();
    let sample = sample_image(&mut blobs);
    stored(&mut blobs, &sample);

    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media_type::INDEX);
    let descriptor = blobs.add(media_type::INDEX, index.as_bytes());
    assert!(matches!(Image::read(&blobs, &descriptor).unwrap_err(), ImageError::Malformed { .. }));

    let mut manifest = sample.manifest().clone();
    manifest.media_type = Some(media_type::INDEX.to_owned());
    let descriptor = blobs.add(media_type::MANIFEST, &serde_json::to_vec(&manifest).unwrap());
    assert!(matches!(Image::read(&blobs, &descriptor).unwrap_err(), ImageError::MediaType { .. }));

    let mut manifest = sample.manifest().clone();
    manifest.layers.pop();
    let descriptor = blobs.add(media_type::MANIFEST, &serde_json::to_vec(&manifest).unwrap());
    let error = Image::read(&blobs, &descriptor).unwrap_err();
    assert!(matches!(error, ImageError::LayerCount { manifest: 1, config: 2, .. }));
}
