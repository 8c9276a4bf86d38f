//! Images from registries: a real one, with a proxy before it that makes trouble.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use carrack_base::{Cancel, Digest, Platform};
use carrack_oci::pull::{
    BlobSink, LayerProgress, Mirror, PullError, Puller, RegistryRule, RegistryRules, Resolved,
};
use carrack_oci::registry::{
    Credentials, ManifestName, Registry, RegistryError, RegistryOptions, Repository, Upload,
};
use carrack_oci::transport::Transport;
use carrack_oci::wire::{Descriptor, Index, media_type};
use carrack_oci::{
    Attributes, BlobError, BlobSource, Content, Image, ImageConfig, LayerBuilder, Ownership, Reference,
    snapshot,
};
use carrack_testkit::{BASIC_PASSWORD, BASIC_USER, Proxy, RegistrySetup, Trouble, free_port};

use crate::registry::{patience, registry};
use crate::{Blobs, Store, binary_like, config, path};

fn connect(with_password: bool) -> impl Fn(&str) -> Registry + Send + Sync + Clone + 'static {
    let transport = Transport::new(patience()).unwrap();
    move |host: &str| {
        let password =
            Credentials::Password { user: BASIC_USER.to_owned(), password: BASIC_PASSWORD.to_owned() };
        let ask = move |_: &str| with_password.then(|| password.clone());
        Registry::new(host, transport.clone(), &RegistryOptions::default(), Arc::new(ask))
    }
}

fn puller() -> Puller {
    Puller::new(RegistryRules::default(), connect(false))
}

fn reference(address: &str, rest: &str) -> Reference {
    format!("{address}/acme/base{rest}").parse().unwrap()
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn repository(address: &str, with_password: bool) -> Repository {
    connect(with_password)(address).repository(&reference(address, ""))
}

/// An image with two layers of its own.
fn image_for(text: &str, blobs: &mut Blobs) -> Image {
    let Platform { architecture, variant, .. } = platform(text);
    let layers = [1, 2].map(|number| {
        let mut layer = LayerBuilder::new(number);
        let content = [text.as_bytes(), &binary_like(300_000)].concat();
        layer.file(path(&format!("/{number}")), Attributes::new(0o644), Content::Bytes(content)).unwrap();
        blobs.add_layer(&layer)
    });
    Image::assemble(ImageConfig { architecture, variant, ..config() }, &layers, BTreeMap::new())
}

fn push_blob(repository: &Repository, bytes: &[u8]) {
    let open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    let upload = Upload { digest: Digest::of(bytes), size: bytes.len() as u64, open: &open };
    repository.put_blob(&upload).unwrap();
}

fn push(repository: &Repository, image: &Image, blobs: &Blobs, name: ManifestName<'_>) {
    for layer in image.layers() {
        push_blob(repository, &blobs.0[&layer.descriptor.digest]);
    }
    push_blob(repository, image.config_bytes());
    repository.put_manifest(name, media_type::MANIFEST, image.manifest_bytes()).unwrap();
}

/// Pushes an index under `tag`.
fn push_index(repository: &Repository, kind: &str, manifests: Vec<Descriptor>, tag: &str) -> Digest {
    let index = Index { media_type: Some(kind.to_owned()), manifests, ..Index::default() };
    let bytes = serde_json::to_vec(&index).unwrap();
    repository.put_manifest(ManifestName::Tag(tag), kind, &bytes).unwrap()
}

fn layers_of(resolved: &Resolved) -> Vec<Descriptor> {
    resolved.image.manifest().layers.clone()
}

fn fetch(
    puller: &Puller,
    reference: &Reference,
    resolved: &Resolved,
    store: &Store,
) -> Result<(), PullError> {
    puller.fetch_layers(reference, &layers_of(resolved), store, &|_| {}, &Cancel::default())
}

fn blob_requests(proxy: &Proxy) -> usize {
    proxy
        .requests()
        .iter()
        .filter(|request| request.starts_with("GET") && request.contains("/blobs/"))
        .count()
}

#[test]
fn of_an_index_the_image_for_the_platform_is_taken() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let (address, mut blobs) = (server.address(), Blobs::default());
    let repository = repository(address, false);
    let mut images = Vec::new();
    for text in ["linux/arm/v6", "linux/amd64", "linux/arm/v7", "linux/arm64"] {
        let image = image_for(text, &mut blobs);
        push(&repository, &image, &blobs, ManifestName::Digest(image.digest()));
        images.push(image);
    }
    // BuildKit's statement about where an image comes from looks like a further image.
    let mut manifests: Vec<Descriptor> = images.iter().map(Image::descriptor).collect();
    let mut attestation = images[0].descriptor();
    attestation.platform =
        Some(Platform { os: "unknown".to_owned(), architecture: "unknown".to_owned(), variant: None }.into());
    manifests.insert(0, attestation);
    let oci = push_index(&repository, media_type::INDEX, manifests.clone(), "oci");
    let docker = push_index(&repository, media_type::DOCKER_INDEX, manifests, "latest");
    for (tag, named) in [(":oci", oci), ("", docker), (&format!("@{oci}"), oci)] {
        for (wanted, expected) in [
            ("linux/amd64", 1),
            ("linux/arm/v7", 2),
            ("linux/arm/v6", 0),
            ("linux/arm64", 3),
            ("linux/arm64/v9", 3),
        ] {
            let (puller, store) = (puller(), Store::default());
            let resolved = puller.resolve(&reference(address, tag), &platform(wanted), &store).unwrap();
            assert_eq!((resolved.named, resolved.fits), (named, true));
            assert_eq!(resolved.image, images[expected], "{wanted}");
            // Index, manifest, configuration: enough to read the image, and no layers.
            assert_eq!(store.len(), 3);
            assert_eq!(Image::read(&store, &resolved.image.descriptor()).unwrap(), resolved.image);
        }
    }
    let store = Store::default();
    let error =
        puller().resolve(&reference(address, ":oci"), &platform("linux/riscv64"), &store).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{address}/acme/base:oci is not there for linux/riscv64, only for linux/arm/v6, linux/amd64, linux/arm/v7, linux/arm64"
        )
    );
    // An image without an index is taken as it is.
    let digest = images[3].digest();
    let single =
        puller().resolve(&reference(address, &format!("@{digest}")), &platform("linux/amd64"), &store);
    let single = single.unwrap();
    assert_eq!((single.named, single.fits, single.image), (digest, false, images[3].clone()));
}

#[test]
fn layers_come_once_and_whole() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let mut blobs = Blobs::default();
    let image = image_for("linux/amd64", &mut blobs);
    push(&repository(server.address(), false), &image, &blobs, ManifestName::Tag("1"));
    let proxy = Proxy::start(server.address());
    let (puller, store, name) = (puller(), Store::default(), reference(&proxy.address(), ":1"));
    let resolved = puller.resolve(&name, &platform("linux/amd64"), &store).unwrap();
    let before = blob_requests(&proxy);
    let seen: Mutex<BTreeMap<Digest, Vec<LayerProgress>>> = Mutex::default();
    let progress =
        |progress: LayerProgress| seen.lock().unwrap().entry(progress.digest).or_default().push(progress);
    proxy.make(Trouble::Slow(2_000_000));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                puller
                    .fetch_layers(&name, &layers_of(&resolved), &store, &progress, &Cancel::default())
                    .unwrap();
            });
        }
    });
    assert_eq!(blob_requests(&proxy) - before, 2);
    for layer in image.layers() {
        assert!(store.has(&layer.descriptor.digest, layer.descriptor.size));
        let steps = &seen.lock().unwrap()[&layer.descriptor.digest];
        assert_eq!((steps[0].done, steps.last().unwrap().done), (0, layer.descriptor.size));
        assert!(
            steps.is_sorted_by_key(|step| step.done)
                && steps.iter().all(|step| step.total == layer.descriptor.size)
        );
    }
    // Nothing is asked twice, and with a digest nothing at all.
    fetch(&puller, &name, &resolved, &store).unwrap();
    assert_eq!(blob_requests(&proxy) - before, 2);
    drop((proxy, server));
    let pinned = reference("127.0.0.1:1", &format!("@{}", image.digest()));
    let again = puller.resolve(&pinned, &platform("linux/amd64"), &store).unwrap();
    assert_eq!(again, resolved);
    fetch(&puller, &pinned, &again, &store).unwrap();
    // What came is a layer.
    let folder = tempfile::tempdir().unwrap();
    let layer = &image.layers()[0];
    let unpacked = snapshot::unpack_layer(layer, &store, folder.path(), Ownership::Caller).unwrap();
    assert_eq!(unpacked.listing.len(), 2);
}

#[test]
fn trouble_is_got_over_or_told() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let mut blobs = Blobs::default();
    let image = image_for("linux/amd64", &mut blobs);
    push(&repository(server.address(), false), &image, &blobs, ManifestName::Tag("1"));
    let proxy = Proxy::start(server.address());
    let (name, amd64) = (reference(&proxy.address(), ":1"), platform("linux/amd64"));
    let resolved = puller().resolve(&name, &amd64, &Store::default()).unwrap();
    let layers = layers_of(&resolved);
    for trouble in [Trouble::Cut(0), Trouble::Cut(100_000), Trouble::HangUp, Trouble::Answer("503 Busy\r\n")]
    {
        let store = Store::default();
        let before = blob_requests(&proxy);
        proxy.make_times(trouble, 2, "/blobs/");
        fetch(&puller(), &name, &resolved, &store).unwrap();
        assert_eq!((store.len(), blob_requests(&proxy) - before), (2, 4), "{trouble:?}");
    }
    // Damage is found, and nothing damaged is kept.
    let store = Store::default();
    proxy.make(Trouble::Corrupt(50_000));
    match fetch(&puller(), &name, &resolved, &store).unwrap_err() {
        PullError::Blob { digest, source, from, .. } => {
            assert!(layers.iter().any(|layer| layer.digest == digest));
            assert_eq!(from, proxy.address());
            let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<BlobError>());
            assert!(matches!(inner, Some(BlobError::Content { .. })), "{source:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.len(), 0);
    // One that is cancelled ends soon.
    let cancel = Cancel::default();
    proxy.make(Trouble::Slow(50_000));
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(200));
            cancel.cancel(2);
        });
        puller().fetch_layers(&name, &layers, &store, &|_| {}, &cancel).unwrap_err()
    });
    assert!(matches!(error, PullError::Cancelled { .. }), "{error:?}");
    assert_eq!(store.len(), 0);
    // What is not there.
    proxy.make(Trouble::None);
    let absent = puller().resolve(&reference(&proxy.address(), ":2"), &amd64, &store).unwrap_err();
    assert_eq!(absent.to_string(), format!("there is no image {}/acme/base:2 at {0}", proxy.address()));
    let lost = Descriptor::new(media_type::LAYER_GZIP, Digest::of(b"lost"), 4);
    let error = puller().fetch_layers(&name, &[lost], &store, &|_| {}, &Cancel::default()).unwrap_err();
    assert!(matches!(error, PullError::MissingBlob { digest, .. } if digest == Digest::of(b"lost")));
}

/// A store whose disk is full.
struct Full;

impl BlobSource for Full {
    fn open(&self, _: &Digest) -> io::Result<Box<dyn Read + Send>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl BlobSink for Full {
    fn has(&self, _: &Digest, _: u64) -> bool {
        false
    }
    fn put(&self, _: &Digest, _: u64, bytes: &mut dyn Read) -> io::Result<()> {
        bytes.read_exact(&mut [0; 10])?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_full_disk_is_not_the_registrys_fault() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let mut blobs = Blobs::default();
    let image = image_for("linux/amd64", &mut blobs);
    push(&repository(server.address(), false), &image, &blobs, ManifestName::Tag("1"));
    let name = reference(server.address(), ":1");
    let check = |error: PullError| match error {
        PullError::Sink { source, .. } => assert_eq!(source.kind(), io::ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    };
    check(puller().resolve(&name, &platform("linux/amd64"), &Full).unwrap_err());
    let layers = &image.manifest().layers;
    check(puller().fetch_layers(&name, layers, &Full, &|_| {}, &Cancel::default()).unwrap_err());
}

#[test]
fn mirrors_are_asked_first_and_passed_over_when_they_fail() {
    let (Some(server), Some(mirror)) = (registry(&RegistrySetup::Open), registry(&RegistrySetup::Open))
    else {
        return;
    };
    let mut blobs = Blobs::default();
    let image = image_for("linux/amd64", &mut blobs);
    push(&repository(server.address(), false), &image, &blobs, ManifestName::Tag("1"));
    let prefixed = connect(false)(mirror.address()).repository_named("mirrored/acme/base".to_owned());
    push(&prefixed, &image, &blobs, ManifestName::Tag("1"));
    let (origin, mirror) = (Proxy::start(server.address()), Proxy::start(mirror.address()));
    let nobody = format!("127.0.0.1:{}", free_port());
    let (name, amd64) = (reference(&origin.address(), ":1"), platform("linux/amd64"));
    let connected = Arc::new(AtomicUsize::new(0));
    let puller = |mirrors: &[String]| {
        let (connect, connected) = (connect(false), Arc::clone(&connected));
        let mirror = |location: &String| Mirror { location: location.clone(), only_digests: false };
        let rule = RegistryRule { mirrors: mirrors.iter().map(mirror).collect(), ..RegistryRule::default() };
        Puller::new(RegistryRules(BTreeMap::from([(origin.address(), rule)])), move |host| {
            connected.fetch_add(1, Ordering::Relaxed);
            connect(host)
        })
    };
    let pull = |puller: &Puller| {
        let store = Store::default();
        let resolved = puller.resolve(&name, &amd64, &store).unwrap();
        assert_eq!(resolved.image, image);
        fetch(puller, &name, &resolved, &store).unwrap();
        assert_eq!(store.len(), 4);
    };
    let prefix = format!("{}/mirrored", mirror.address());
    pull(&puller(&[nobody.clone(), prefix.clone()]));
    assert_eq!(origin.requests(), Vec::<String>::new());
    assert_eq!(mirror.requests().len(), 4);
    // One client a host.
    assert_eq!(connected.load(Ordering::Relaxed), 3);
    // It has no such repository, or gives nothing but damage, or fails.
    for (trouble, only) in [
        (Trouble::None, ""),
        (Trouble::Answer("500 Oops\r\n"), ""),
        (Trouble::Answer("403 No\r\n"), ""),
        (Trouble::Corrupt(10), "/blobs/"),
        (Trouble::HangUp, "/blobs/"),
    ] {
        let mirror_name = if trouble == Trouble::None { mirror.address() } else { prefix.clone() };
        mirror.make_times(trouble, usize::MAX, only);
        let before = origin.requests().len();
        pull(&puller(&[mirror_name]));
        assert!(origin.requests().len() >= before + 3, "{trouble:?}");
    }
    // A mirror that can't be reached is not asked again; the last word is the registry's own.
    mirror.make(Trouble::HangUp);
    let puller = puller(&[prefix]);
    pull(&puller);
    let before = mirror.requests().len();
    pull(&puller);
    assert_eq!(mirror.requests().len(), before);
    origin.make(Trouble::Answer("403 No\r\n"));
    match puller.resolve(&name, &amd64, &Store::default()).unwrap_err() {
        PullError::Registry { source: RegistryError::Denied { host, .. }, .. } => {
            assert_eq!(host, origin.address())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_registry_with_a_password_wants_it() {
    let Some(server) = registry(&RegistrySetup::Password) else { return };
    let mut blobs = Blobs::default();
    let image = image_for("linux/amd64", &mut blobs);
    push(&repository(server.address(), true), &image, &blobs, ManifestName::Tag("1"));
    let (name, amd64, store) = (reference(server.address(), ":1"), platform("linux/amd64"), Store::default());
    match puller().resolve(&name, &amd64, &store).unwrap_err() {
        PullError::Registry { source: RegistryError::Unauthorized { had_credentials, .. }, .. } => {
            assert!(!had_credentials);
        }
        other => panic!("{other:?}"),
    }
    let known = Puller::new(RegistryRules::default(), connect(true));
    let resolved = known.resolve(&name, &amd64, &store).unwrap();
    fetch(&known, &name, &resolved, &store).unwrap();
    assert_eq!(store.len(), 4);
}

/// A server whose one manifest is this.
fn serving(media_type: &str, body: &str) -> Proxy {
    let answer =
        format!("200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    Proxy::intercepting("127.0.0.1:1", move |_| Some(answer.clone()))
}

#[test]
fn other_documents_are_refused_by_what_they_are() {
    let resolve = |media_type: &str, body: &str| {
        let proxy = serving(media_type, body);
        puller()
            .resolve(&reference(&proxy.address(), ""), &platform("linux/amd64"), &Store::default())
            .unwrap_err()
    };
    let old = r#"{"schemaVersion":1,"name":"acme/base","fsLayers":[],"history":[]}"#;
    for (media_type, body) in [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", old),
        ("application/json", old),
        ("application/vnd.docker.distribution.manifest.v1+json", "{}"),
    ] {
        let error = resolve(media_type, body);
        assert!(matches!(error, PullError::SchemaOne { .. }), "{error:?}");
        assert!(error.to_string().contains("/acme/base is a manifest of docker's schema 1"));
    }
    for (media_type, body, expected) in [
        (media_type::MANIFEST, r#"{"schemaVersion":2,"manifests":[],"config":{}}"#, "it is both"),
        (media_type::INDEX, r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "it is both"),
        (media_type::MANIFEST, r#"{"schemaVersion":2,"layers":[]}"#, "it has no `config`"),
        (media_type::INDEX, r#"{"schemaVersion":2}"#, "it has no `manifests`"),
        ("text/html", r#"{"schemaVersion":2}"#, "it has neither `config` nor `manifests`"),
        ("", r#"{"mediaType":"text/x","config":{}}"#, "it is of the media type `text/x`"),
    ] {
        match resolve(media_type, body) {
            PullError::Document { problem, .. } => assert_eq!(problem, expected),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(resolve("text/html", "<html>"), PullError::Document { .. }));
    let huge = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":99999999999}},"layers":[]}}"#,
        media_type::CONFIG,
        Digest::of(b"")
    );
    assert!(matches!(resolve(media_type::MANIFEST, &huge), PullError::Image { .. }));
    let empty = r#"{"schemaVersion":2,"manifests":[]}"#;
    let error = resolve(media_type::INDEX, empty);
    assert!(
        error.to_string().ends_with("is not there for linux/amd64, and for no other platform"),
        "{error}"
    );
}
