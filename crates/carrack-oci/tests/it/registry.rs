//! The client against a real registry, and against a proxy before it that makes trouble.

use std::fs;
use std::io::{self, Read};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use carrack_base::Digest;
use carrack_oci::registry::{
    AskCredentials, Credentials, ManifestName, Pushed, Registry, RegistryError, RegistryOptions, Repository,
    Upload,
};
use carrack_oci::transport::{Roots, Transport, TransportError, TransportOptions};
use carrack_oci::wire::media_type;
use carrack_oci::{BlobError, Reference};
use carrack_testkit::{
    BASIC_PASSWORD, BASIC_USER, ContainerRegistry, Proxy, RegistrySetup, Trouble, free_port, skipped,
};

use crate::binary_like;

const NAME: &str = "harbour/cache";

pub(crate) fn patience() -> TransportOptions {
    TransportOptions {
        connect_timeout: Duration::from_millis(800),
        stall_timeout: Duration::from_millis(600),
        attempts: 3,
        first_pause: Duration::from_millis(20),
        longest_pause: Duration::from_millis(500),
        ..TransportOptions::default()
    }
}

fn repository_with(address: &str, options: TransportOptions, ask: Arc<AskCredentials>) -> Repository {
    let transport = Transport::new(options).unwrap();
    let reference: Reference = format!("{address}/{NAME}").parse().unwrap();
    Registry::new(reference.registry(), transport, &RegistryOptions::default(), ask).repository(&reference)
}

fn repository(address: &str) -> Repository {
    repository_with(address, patience(), Arc::new(|_| None))
}

pub(crate) fn registry(setup: &RegistrySetup) -> Option<ContainerRegistry> {
    let registry = ContainerRegistry::start(setup);
    if registry.is_none() {
        skipped("a real registry", "docker-registry is not installed");
    }
    registry
}

fn put(repository: &Repository, bytes: &[u8]) -> Result<(Digest, Pushed), RegistryError> {
    let digest = Digest::of(bytes);
    let owned = bytes.to_vec();
    let open = move || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(owned.clone()))) };
    let pushed = repository.put_blob(&Upload { digest, size: bytes.len() as u64, open: &open })?;
    Ok((digest, pushed))
}

fn get(repository: &Repository, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let download = repository.blob(&Digest::of(bytes), bytes.len() as u64)?;
    let mut found = Vec::new();
    download.expect("the blob is there").read_to_end(&mut found)?;
    Ok(found)
}

/// A manifest of nothing but a configuration, which has to be there.
fn manifest(config: &[u8]) -> Vec<u8> {
    let descriptor = format!(
        r#"{{"mediaType":"{}","digest":"{}","size":{}}}"#,
        media_type::CONFIG,
        Digest::of(config),
        config.len()
    );
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{descriptor},"layers":[]}}"#,
        media_type::MANIFEST
    )
    .into_bytes()
}

fn put_tagged(repository: &Repository, tag: &str) -> Digest {
    let config = format!("{{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"{tag}\"}}");
    put(repository, config.as_bytes()).unwrap();
    let bytes = manifest(config.as_bytes());
    repository.put_manifest(ManifestName::Tag(tag), media_type::MANIFEST, &bytes).unwrap()
}

#[test]
fn what_is_put_is_found_again() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let repository = repository(server.address());
    assert_eq!(repository.tags().unwrap(), Vec::<String>::new());
    let bytes = binary_like(3_000_000);
    let (digest, pushed) = put(&repository, &bytes).unwrap();
    assert_eq!(pushed, Pushed::Sent);
    assert_eq!(put(&repository, &bytes).unwrap().1, Pushed::WasThere);
    assert_eq!(repository.blob_size(&digest).unwrap(), Some(3_000_000));
    assert!(get(&repository, &bytes).unwrap() == bytes);
    let absent = Digest::of(b"absent");
    assert_eq!(repository.blob_size(&absent).unwrap(), None);
    assert!(repository.blob(&absent, 6).unwrap().is_none());
    assert_eq!(put(&repository, b"").unwrap().1, Pushed::Sent);
    assert_eq!(get(&repository, b"").unwrap(), b"");

    let first = put_tagged(&repository, "first");
    let second = put_tagged(&repository, "second");
    let mut tags = repository.tags().unwrap();
    tags.sort();
    assert_eq!(tags, ["first", "second"]);
    let found = repository.manifest(ManifestName::Tag("first")).unwrap().unwrap();
    assert_eq!((found.digest, found.media_type.as_str()), (first, media_type::MANIFEST));
    assert_eq!(repository.manifest(ManifestName::Digest(first)).unwrap().unwrap(), found);
    assert_eq!(repository.manifest(ManifestName::Tag("third")).unwrap(), None);
    assert!(repository.delete_tag("first").unwrap());
    assert!(!repository.delete_tag("first").unwrap());
    assert!(repository.delete_manifest(&second).unwrap());
    assert_eq!(repository.tags().unwrap(), Vec::<String>::new());
}

#[test]
fn sizes_are_not_believed() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let repository = repository(server.address());
    let (digest, _) = put(&repository, b"cargo").unwrap();
    for (size, is_size) in [(4, true), (6, false)] {
        let mut download = repository.blob(&digest, size).unwrap().unwrap();
        let error = download.read_to_end(&mut Vec::new()).unwrap_err();
        if is_size {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<BlobError>());
            assert!(matches!(inner, Some(BlobError::Size { expected: 4, .. })), "{error:?}");
        }
    }
}

#[test]
fn a_source_that_fails_is_not_the_registrys_fault() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let repository = repository(server.address());
    let short = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(vec![0; 10]))) };
    let missing = || -> io::Result<Box<dyn Read + Send>> { Err(io::ErrorKind::NotFound.into()) };
    let sources: [&(dyn Fn() -> io::Result<Box<dyn Read + Send>> + Sync); 2] = [&short, &missing];
    for open in sources {
        let upload = Upload { digest: Digest::of(b"longer"), size: 1_000_000, open };
        let start = Instant::now();
        let error = repository.put_blob(&upload).unwrap_err();
        assert!(
            matches!(error, RegistryError::Transport { source: TransportError::Source { .. }, .. }),
            "{error:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_password_is_asked_for_when_it_is_wanted() {
    let Some(server) = registry(&RegistrySetup::Password) else { return };
    let asked = Arc::new(AtomicUsize::new(0));
    let ask = |credentials: Option<(&str, &str)>| -> Arc<AskCredentials> {
        let asked = Arc::clone(&asked);
        let credentials = credentials.map(|(user, password)| Credentials::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        });
        let address = server.address().to_owned();
        Arc::new(move |host: &str| {
            assert_eq!(host, address);
            asked.fetch_add(1, Ordering::Relaxed);
            credentials.clone()
        })
    };
    let good = repository_with(server.address(), patience(), ask(Some((BASIC_USER, BASIC_PASSWORD))));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    put_tagged(&good, "mine");
    assert_eq!(good.tags().unwrap(), ["mine"]);
    assert!(asked.load(Ordering::Relaxed) > 0);
    for (credentials, had) in [(None, false), (Some((BASIC_USER, "wrong")), true), (Some(("eve", "")), true)]
    {
        let error = repository_with(server.address(), patience(), ask(credentials)).tags().unwrap_err();
        let RegistryError::Unauthorized { had_credentials, .. } = error else { panic!("{error:?}") };
        assert_eq!(had_credentials, had, "{credentials:?}");
    }
}

/// A registry that wants tokens, with the server that gives them out: a token holds its scope and is good for three
/// requests.
fn guarded(upstream: &str) -> Proxy {
    let given = AtomicUsize::new(0);
    let used = AtomicUsize::new(0);
    Proxy::intercepting(upstream, move |head| {
        let head_lower = head.to_ascii_lowercase();
        let host = head_lower.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let first = head.lines().next().unwrap();
        let authorization = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization").then_some(value)
        });
        if first.contains("/token") {
            let expected = "Basic bWFyYTpzZXNhbWU=";
            if authorization != Some(expected) && !first.starts_with("POST") {
                return Some("401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned());
            }
            let number = given.fetch_add(1, Ordering::Relaxed) + 1;
            used.store(0, Ordering::Relaxed);
            let push = if first.contains("push") || first.starts_with("POST") { "push" } else { "pull" };
            let body = format!("{{\"token\":\"{push}-{number}\",\"expires_in\":300}}");
            return Some(format!("200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
        let number = given.load(Ordering::Relaxed);
        let is_write = !first.starts_with("GET") && !first.starts_with("HEAD");
        let good = match authorization {
            Some(header) if header == format!("Bearer push-{number}") => true,
            Some(header) => !is_write && header == format!("Bearer pull-{number}"),
            None => false,
        };
        if good && used.fetch_add(1, Ordering::Relaxed) < 3 {
            return None;
        }
        Some(format!(
            "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"harbour\"\r\n\
             Content-Length: 0\r\n\r\n"
        ))
    })
}

#[test]
fn tokens_are_got_kept_and_replaced() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let proxy = guarded(server.address());
    let password =
        || Credentials::Password { user: BASIC_USER.to_owned(), password: BASIC_PASSWORD.to_owned() };
    for credentials in [password(), Credentials::IdentityToken("identity".to_owned())] {
        let ask = credentials.clone();
        let good = repository_with(&proxy.address(), patience(), Arc::new(move |_| Some(ask.clone())));
        put_tagged(&good, "mine");
        assert_eq!(good.tags().unwrap(), ["mine"], "{credentials:?}");
        assert!(good.manifest(ManifestName::Tag("mine")).unwrap().is_some());
    }
    let requests = proxy.requests();
    let tokens = requests.iter().filter(|request| request.contains("/token")).count();
    assert!((4..requests.len() / 2).contains(&tokens), "{requests:#?}");
    assert!(
        requests.iter().any(|request| request.contains("scope=repository%3Aharbour%2Fcache%3Apull%2Cpush"))
    );

    let error = repository(&proxy.address()).tags().unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { had_credentials: false, .. }), "{error:?}");
}

#[test]
fn pages_of_tags_are_followed() {
    let proxy = Proxy::intercepting("127.0.0.1:1", |head| {
        let first = head.lines().next().unwrap();
        let (link, body) = match first.split_once("last=") {
            None => ("</v2/harbour/cache/tags/list?n=1000&last=b>; rel=\"next\"", r#"{"tags":["a","b"]}"#),
            Some((_, rest)) if rest.starts_with("b ") => {
                ("</v2/harbour/cache/tags/list?last=c&n=1000>; rel=next", r#"{"tags":["c"]}"#)
            }
            Some(_) => ("", r#"{"name":"x","tags":null}"#),
        };
        let link = if link.is_empty() { String::new() } else { format!("Link: {link}\r\n") };
        Some(format!("200 OK\r\n{link}Content-Length: {}\r\n\r\n{body}", body.len()))
    });
    assert_eq!(repository(&proxy.address()).tags().unwrap(), ["a", "b", "c"]);
    assert_eq!(proxy.requests().len(), 3);
}

#[test]
fn a_passing_trouble_is_got_over() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let proxy = Proxy::start(server.address());
    let repository = repository(&proxy.address());
    let bytes = binary_like(2_000_000);
    const BUSY: Trouble = Trouble::Answer("503 Service Unavailable\r\n");
    for (trouble, times, only) in [
        (Trouble::Answer("429 Too Many Requests\r\nRetry-After: 1\r\n"), 1, "HEAD"),
        (BUSY, 2, "POST"),
        (BUSY, 2, "PUT"),
        (Trouble::HangUp, 1, "PUT"),
        (Trouble::HangUp, 2, "HEAD"),
    ] {
        let mut bytes = bytes.clone();
        bytes.extend_from_slice(format!("{trouble:?}{only}").as_bytes());
        proxy.make_times(trouble, times, only);
        assert_eq!(put(&repository, &bytes).unwrap().1, Pushed::Sent, "{trouble:?} {only}");
        for (trouble, times) in [
            (BUSY, 2),
            (Trouble::HangUp, 1),
            (Trouble::Cut(0), 1),
            (Trouble::Cut(1_000_000), 2),
            (Trouble::Cut(1_999_999), 1),
        ] {
            proxy.make_times(trouble, times, "GET");
            assert!(get(&repository, &bytes).unwrap() == bytes, "{trouble:?}");
        }
    }
}

/// What a call has to end with.
#[derive(Debug, PartialEq)]
enum End {
    TimedOut,
    Connection,
    Status(u16),
    Refused,
    Content,
    Well,
}

fn end<T>(outcome: io::Result<T>) -> End {
    let Err(error) = outcome else { return End::Well };
    let Some(inner) = error.get_ref() else { return End::Connection };
    if let Some(error) = inner.downcast_ref::<TransportError>() {
        return match error {
            TransportError::TimedOut { .. } | TransportError::Deadline { .. } => End::TimedOut,
            TransportError::Connection { .. } => End::Connection,
            other => panic!("{other:?}"),
        };
    }
    match inner.downcast_ref::<RegistryError>() {
        Some(RegistryError::Status { status, .. }) => End::Status(*status),
        Some(RegistryError::Unauthorized { .. }) => End::Refused,
        Some(other) => panic!("{other:?}"),
        None if inner.is::<BlobError>() => End::Content,
        None => End::Connection,
    }
}

#[test]
fn a_lasting_trouble_ends_in_time() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let proxy = Proxy::start(server.address());
    let bytes = binary_like(2_000_000);
    put(&repository(&proxy.address()), &bytes).unwrap();
    for (trouble, expected, put_ends) in [
        (Trouble::HangUp, End::Connection, End::Connection),
        (Trouble::Stall(0), End::TimedOut, End::TimedOut),
        (Trouble::Stall(500_000), End::TimedOut, End::Well),
        (Trouble::Cut(500_000), End::Connection, End::Well),
        (Trouble::Corrupt(1_500_000), End::Content, End::Well),
        (Trouble::Slow(100_000), End::TimedOut, End::Well),
        (Trouble::Answer("507 Insufficient Storage\r\n"), End::Status(507), End::Status(507)),
        (Trouble::Answer("503 Service Unavailable\r\n"), End::Status(503), End::Status(503)),
        (
            Trouble::Answer("429 Too Many Requests\r\nRetry-After: 3600\r\n"),
            End::Status(429),
            End::Status(429),
        ),
        (Trouble::Answer("401 Unauthorized\r\n"), End::Refused, End::Refused),
    ] {
        proxy.make(trouble);
        let transport = Transport::new(patience()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(4);
        let registry =
            repository(&proxy.address()).registry().with_transport(transport.with_deadline(Some(deadline)));
        let repository = registry.repository(&format!("x.y/{NAME}").parse().unwrap());
        let start = Instant::now();
        assert_eq!(end(get(&repository, &bytes)), expected, "{trouble:?}");
        let took = start.elapsed();
        assert!(took < Duration::from_millis(4_500), "{trouble:?} {took:?}");
        let fresh = format!("{trouble:?}").repeat(50_000);
        let start = Instant::now();
        let outcome = put(&repository, fresh.as_bytes()).map_err(io::Error::from);
        // The slow download has used up the time of all.
        if !matches!(trouble, Trouble::Slow(_)) {
            assert_eq!(end(outcome), put_ends, "{trouble:?}");
        }
        assert!(start.elapsed() < Duration::from_millis(4_500), "{trouble:?}");
    }
}

#[test]
fn an_upload_that_nobody_takes_ends_in_time() {
    let Some(server) = registry(&RegistrySetup::Open) else { return };
    let proxy = Proxy::start(server.address());
    proxy.make_times(Trouble::Stall(0), usize::MAX, "PUT");
    let bytes = binary_like(20_000_000);
    let start = Instant::now();
    assert_eq!(end(put(&repository(&proxy.address()), &bytes).map_err(io::Error::from)), End::TimedOut);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn nobody_there_is_told_soon() {
    for address in [format!("127.0.0.1:{}", free_port()), "localhost:1".to_owned()] {
        let start = Instant::now();
        let error = repository(&address).tags().unwrap_err();
        let RegistryError::Transport { source, .. } = error else { panic!("{error:?}") };
        assert!(matches!(source, TransportError::Connection { refused: true, .. }), "{source:?}");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    let options = RegistryOptions::default();
    let transport = Transport::new(patience()).unwrap();
    let reference: Reference = "registry.invalid/a".parse().unwrap();
    let registry = Registry::new(reference.registry(), transport, &options, Arc::new(|_| None));
    let error = registry.repository(&reference).tags().unwrap_err();
    assert!(
        matches!(
            error,
            RegistryError::Transport {
                source: TransportError::UnknownHost { .. }
                    | TransportError::TimedOut { .. }
                    | TransportError::Connection { .. }
                    | TransportError::NoRoots { .. },
                ..
            }
        ),
        "{error:?}"
    );
}

/// A certificate for 127.0.0.1 and its key, signed by itself. `None` without openssl.
fn certificate(folder: &std::path::Path) -> Option<(std::path::PathBuf, std::path::PathBuf)> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args(["-subj", "/CN=harbour", "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    command.output().ok()?.status.success().then_some((certificate, key))
}

#[test]
fn tls_is_spoken_with_those_whose_certificate_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let Some((certificate, key)) = certificate(folder.path()) else {
        return skipped("TLS", "openssl is not installed");
    };
    let pem = fs::read(&certificate).unwrap();
    let Some(server) = registry(&RegistrySetup::Tls { certificate, key }) else { return };
    let with = |roots: Roots| {
        let options = RegistryOptions { plain_loopback: false, ..RegistryOptions::default() };
        let transport = Transport::new(TransportOptions { roots, ..patience() }).unwrap();
        let reference: Reference = format!("{}/{NAME}", server.address()).parse().unwrap();
        Registry::new(reference.registry(), transport, &options, Arc::new(|_| None)).repository(&reference)
    };
    let known = with(Roots::Pem(pem));
    put_tagged(&known, "mine");
    assert_eq!(known.tags().unwrap(), ["mine"]);
    let error = with(Roots::Pem(Vec::new())).tags().unwrap_err();
    let RegistryError::Transport { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(source, TransportError::NoRoots { .. }), "{source:?}");
    if fs::exists("/etc/ssl/certs/ca-certificates.crt").unwrap() {
        let start = Instant::now();
        let error = with(Roots::System).tags().unwrap_err();
        let RegistryError::Transport { source, .. } = error else { panic!("{error:?}") };
        assert!(matches!(source, TransportError::Tls { .. }), "{source:?}");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
