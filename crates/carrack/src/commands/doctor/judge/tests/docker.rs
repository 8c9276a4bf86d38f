//! Docker, BuildKit, compose and Podman.

use super::*;

/// A client whose daemon does not answer as it should, with what it says.
fn without_daemon(complaint: &str) -> Client {
    let version = r#"{"Client":{"Version":"20.10.24+dfsg1","ApiVersion":"1.41"},"Server":null}"#;
    Client { version: refused(version, complaint), info: refused("{}", complaint), ..old_client() }
}

#[test]
fn docker_is_broken_only_for_those_who_want_it() {
    let mut facts = healthy();
    docker(&mut facts).clients = vec![without_daemon(NO_DAEMON)];
    assert_eq!(states(&facts, &EngineName::Embedded, State::Broken), [""; 0]);
    assert_eq!(states(&facts, &EngineName::Docker, State::Broken), ["docker-daemon"]);
    facts = healthy();
    facts.rust.as_mut().unwrap().linker = Linker::default();
    assert_eq!(states(&facts, &EngineName::Embedded, State::Broken), ["linker"]);
    assert_eq!(states(&facts, &EngineName::Docker, State::Broken), [""; 0]);
}

const NO_DAEMON: &str =
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n";

#[test]
fn daemons() {
    let with = |client: Client, host: Option<&str>| {
        let mut facts = healthy();
        docker(&mut facts).clients = vec![client];
        docker(&mut facts).host = host.map(str::to_owned);
        facts
    };
    let warning = |what, hint| (Check::DockerDaemon, State::Warning, what, hint);
    expect(&with(without_daemon(NO_DAEMON), None), warning("Cannot connect", "sudo systemctl start docker"));
    expect(
        &with(without_daemon(NO_DAEMON), Some("tcp://10.0.0.7:2375")),
        warning("Cannot", "unset DOCKER_HOST"),
    );
    let mut elsewhere = with(without_daemon(NO_DAEMON), None);
    docker(&mut elsewhere).endpoint = Some("ssh://build-machine".to_owned());
    expect(&elsewhere, warning("Cannot connect", "docker context use default"));
    let denied = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: \
        Get \"http://%2Fvar%2Frun%2Fdocker.sock/v1.24/version\": dial unix /var/run/docker.sock: connect: permission denied";
    expect(&with(without_daemon(denied), None), warning("closed to this user", "usermod -aG docker"));
    let hanging = Client { version: Answer::Silent, info: Answer::Silent, ..old_client() };
    expect(&with(hanging, None), warning("answers within 5 seconds", "sudo systemctl restart docker"));
    let ancient = client("/usr/bin/docker", "28.5.2", &["buildx"], "19.03.15");
    expect(
        &with(ancient, None),
        warning("19.03.15 at unix:///var/run/docker.sock is too old", "apt-get install"),
    );

    for (endpoint, hint) in [
        ("unix:///run/user/1000/docker.sock", "systemctl --user start docker"),
        ("unix:///home/ada/.docker/desktop/docker.sock", "systemctl --user start docker-desktop"),
    ] {
        let mut rootless = with(without_daemon(NO_DAEMON), None);
        docker(&mut rootless).endpoint = Some(endpoint.to_owned());
        expect(&rootless, warning("Cannot connect", hint));
    }
    let podman =
        r#"{"Server":{"Version":"4.3.1","ApiVersion":"1.41","Components":[{"Name":"Podman Engine"}]}}"#;
    let podman = with(Client { version: said(podman), ..old_client() }, Some("unix:///run/podman.sock"));
    expect(&podman, warning("Podman 4.3.1 answers at unix:///run/podman.sock", "unset DOCKER_HOST"));
    assert_eq!(states(&podman, &EngineName::Docker, State::Broken), ["docker-daemon"]);

    let too_new =
        "Error response from daemon: client version 1.99 is too new. Maximum supported API version is 1.41";
    let mut unfit = with(without_daemon(too_new), None);
    let words = "client version 1.99 is too new. Maximum supported API version is 1.41";
    expect(&unfit, (Check::DockerApi, State::Warning, words, "sudo apt-get install docker.io"));
    docker(&mut unfit).api_version = Some("1.99".to_owned());
    expect(&unfit, (Check::DockerApi, State::Warning, words, "unset DOCKER_API_VERSION"));
}

#[test]
fn clients() {
    let with = |clients: Vec<Client>| {
        let mut facts = healthy();
        docker(&mut facts).clients = clients;
        facts
    };
    let finding = |check, state, what, hint| (check, state, what, hint);
    let hint = "sudo apt-get install docker.io";
    expect(&with(Vec::new()), finding(Check::DockerClient, State::Note, "not installed", hint));
    let old = client("/usr/bin/docker", "19.03.15", &[], "20.10.24");
    expect(&with(vec![old]), finding(Check::DockerClient, State::Warning, "too old", hint));
    let podman =
        Client { name: said("podman version 4.3.1\n"), ..client("/usr/bin/docker", "4.3.1", &[], "4.3.1") };
    expect(&with(vec![podman]), finding(Check::DockerClient, State::Warning, "is Podman", hint));
    let hanging = Client {
        name: Answer::Silent,
        plugins: Answer::Silent,
        version: Answer::Silent,
        info: Answer::Silent,
        path: "/usr/bin/docker".into(),
    };
    expect(&with(vec![hanging]), finding(Check::DockerClient, State::Warning, "no answer", "--reinstall"));

    // The one in front can't use BuildKit, the one behind it can.
    let front = || client("/usr/local/bin/docker", "28.2.2", &[], "20.10.24");
    let two = with(vec![front(), old_client()]);
    let what = "/usr/local/bin/docker 28.2.2 stands in PATH before /usr/bin/docker 20.10.24";
    expect(&two, finding(Check::DockerClients, State::Warning, what, "export PATH=/usr/bin:$PATH"));
    let two = with(vec![old_client(), front()]);
    expect(&two, finding(Check::DockerClients, State::Note, "behind it in PATH", ""));
    let one = judge(&with(vec![front()]), &EngineName::Embedded);
    assert!(!one.iter().any(|finding| finding.check == Check::DockerClients));
}

#[test]
fn who_builds_with_buildkit() {
    let old = |daemon: &str| client("/usr/bin/docker", "20.10.24", &[], daemon);
    let new = |plugins: &[&str]| client("/usr/bin/docker", "28.2.2", plugins, "20.10.24");
    let off = |why| (State::Warning, why, "export DOCKER_BUILDKIT=1");
    let on = |why| (State::Ok, why, "");
    let cases = [
        (old("20.10.24"), None, None, off("only if asked to")),
        (old("20.10.24"), None, Some(false), off("only if asked to")),
        (old("20.10.24"), None, Some(true), on("as the daemon asks")),
        (old("20.10.24"), Some("1"), None, on("by DOCKER_BUILDKIT")),
        (old("20.10.24"), Some("0"), Some(true), off("DOCKER_BUILDKIT=0")),
        (old("28.5.2"), None, None, on("as the daemon asks")),
        (old("28.5.2"), None, Some(false), off("features.buildkit=false")),
        (old("28.5.2"), Some("yes"), None, off("neither true nor false")),
        (new(&["buildx"]), None, Some(false), on("by way of buildx")),
        (new(&["buildx"]), Some("False"), None, off("DOCKER_BUILDKIT=0")),
    ];
    for (client, variable, asked, (state, what, hint)) in cases {
        let mut facts = healthy();
        docker(&mut facts).clients = vec![client];
        docker(&mut facts).buildkit = variable.map(str::to_owned);
        docker(&mut facts).daemon_asks_for_buildkit = asked;
        expect(&facts, (Check::Buildkit, state, what, hint));
    }
    let mut facts = healthy();
    docker(&mut facts).clients = vec![new(&["compose"])];
    let hint = "sudo apt-get install docker-buildx";
    expect(&facts, (Check::Buildx, State::Warning, "the --mount option requires BuildKit", hint));
    check(&facts, &EngineName::Docker, Check::Buildx, State::Broken, "only through buildx", hint);
    // A plugin that does not start is none.
    let broken = r#"{"ClientInfo":{"Plugins":[{"Name":"buildx","Err":"exec format error"}]}}"#;
    docker(&mut facts).clients = vec![Client { plugins: said(broken), ..new(&[]) }];
    expect(&facts, (Check::Buildx, State::Warning, "only through buildx", hint));
}

#[test]
fn storage_drivers_compose_and_podman() {
    let mut facts = healthy();
    docker(&mut facts).clients = vec![Client { info: said(r#"{"Driver":"vfs"}"#), ..old_client() }];
    expect(&facts, (Check::StorageDriver, State::Warning, "copies everything", "overlay2"));

    let tool = |path: &str, answer| Some(Tool { path: path.into(), answer });
    expect(&facts, (Check::Compose, State::Note, "not installed", "sudo apt-get install docker-compose"));
    docker(&mut facts).compose = tool("/usr/bin/docker-compose", said("1.29.2\n"));
    let both = "export COMPOSE_DOCKER_CLI_BUILD=1 DOCKER_BUILDKIT=1";
    expect(&facts, (Check::Compose, State::Warning, "1.29.2 builds without BuildKit", both));
    docker(&mut facts).buildkit = Some("1".to_owned());
    expect(&facts, (Check::Compose, State::Warning, "told twice", both));
    docker(&mut facts).compose_cli_build = Some("1".to_owned());
    expect(&facts, (Check::Compose, State::Note, "no longer maintained", ""));
    docker(&mut facts).compose = tool("/usr/bin/docker-compose", said("2.40.3\n"));
    expect(&facts, (Check::Compose, State::Ok, "2.40.3", ""));

    docker(&mut facts).podman = tool("/usr/bin/podman", said("podman version 4.3.1\n"));
    expect(&facts, (Check::Podman, State::Ok, "/usr/bin/podman 4.3.1", ""));
    facts.docker = Some(DockerFacts::default());
    expect(&facts, (Check::Podman, State::Note, "nowhere to go", "sudo apt-get install podman"));
}

/// Carrack switches BuildKit on by itself, and takes a client behind the first one if it must.
#[test]
fn what_an_engine_of_dockers_needs() {
    let front = || client("/usr/local/bin/docker", "28.2.2", &[], "20.10.24");
    let broken = |clients: Vec<Client>, engine: &EngineName, buildctl: Option<&str>| {
        let mut facts = healthy();
        docker(&mut facts).clients = clients;
        docker(&mut facts).buildkit = Some("0".to_owned());
        docker(&mut facts).buildctl = buildctl.map(PathBuf::from);
        states(&facts, engine, State::Broken)
    };
    let none = [""; 0];
    assert_eq!(broken(vec![old_client()], &EngineName::Docker, None), none);
    assert_eq!(broken(vec![front(), old_client()], &EngineName::Docker, None), none);
    assert_eq!(broken(vec![front()], &EngineName::Docker, None), ["buildx"]);
    assert_eq!(broken(Vec::new(), &EngineName::Docker, None), ["docker-client"]);
    let buildkit = EngineName::BuildKit(None);
    assert_eq!(broken(vec![old_client()], &buildkit, None), none);
    assert_eq!(broken(vec![front()], &buildkit, None), ["buildctl"]);
    assert_eq!(broken(Vec::new(), &buildkit, Some("/usr/bin/buildctl")), none);
    let remote = EngineName::BuildKit(Some("tcp://builder:1234".to_owned()));
    assert_eq!(broken(vec![old_client()], &remote, None), ["buildctl"]);
    assert_eq!(broken(Vec::new(), &remote, Some("/usr/bin/buildctl")), none);
}
