//! Base images from mirrors, as podman's and docker's own files name them: two real registries, with a proxy before each.

use std::fs;
use std::path::Path;

use carrack_testkit::{
    ContainerRegistry, Finished, Program, Proxy, RegistrySetup, Trouble, free_port, has_program, skipped,
};
use tempfile::TempDir;

use crate::docker_build::with_dockerfile;
use crate::stage::{Stage, finish};

/// Two registries, of which the second one has copies below `hub/`.
struct Harbour {
    _registries: [ContainerRegistry; 2],
    origin: Proxy,
    mirror: Proxy,
    /// `sha256:…` of the image `acme/base:1`.
    digest: String,
}

/// `None`, with a word about it, if this machine can't show it.
fn harbour(test: &str) -> Option<Harbour> {
    if !Path::new("/bin/busybox").exists() || !has_program("skopeo") {
        skipped(test, "busybox-static or skopeo is not installed");
        return None;
    }
    let (Some(first), Some(second)) =
        (ContainerRegistry::start(&RegistrySetup::Open), ContainerRegistry::start(&RegistrySetup::Open))
    else {
        skipped(test, "docker-registry is not installed");
        return None;
    };
    let stage =
        with_dockerfile("FROM scratch\nCOPY rootfs /\nCMD [\"/bin/busybox\", \"echo\", \"the image\"]\n");
    let layout = stage.home.path().join("layout");
    stage.build(&["-q", "-t", "made:1", "-o", &format!("type=oci,tar=false,dest={}", layout.display())]);
    let skopeo = Program::new("skopeo");
    let from = format!("oci:{}", layout.display());
    let names = [(&first, "acme/base"), (&second, "hub/acme/base"), (&second, "library/only-copied")];
    for (registry, name) in names {
        let to = format!("docker://{}/{name}:1", registry.address());
        let copy = ["--insecure-policy", "copy", "--dest-tls-verify=false", &from, &to];
        skopeo.run(stage.path(), &copy).expect_code(0);
    }
    let inspect = ["inspect", "--format", "{{.Digest}}", &from];
    let digest = skopeo.run(stage.path(), &inspect).expect_code(0).stdout.trim().to_owned();
    let (origin, mirror) = (Proxy::start(first.address()), Proxy::start(second.address()));
    Some(Harbour { _registries: [first, second], origin, mirror, digest })
}

impl Harbour {
    /// A machine whose files for registries are these, and a Dockerfile that begins with `base`.
    fn machine(&self, base: &str, files: &[(&str, &str)]) -> Machine {
        let stage = with_dockerfile(&format!("FROM {base}\n"));
        let settings = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = settings.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = text.replace("ORIGIN", &self.origin.address());
            fs::write(path, text.replace("MIRROR", &self.mirror.address())).unwrap();
        }
        Machine { stage, settings }
    }

    /// The same with the mirrors of the origin in podman's file.
    fn mirrored(&self, base: &str, mirrors: &[&str]) -> Machine {
        let mirrors: Vec<String> =
            mirrors.iter().map(|mirror| format!("[[registry.mirror]]\n{mirror}\n")).collect();
        let text = format!("[[registry]]\nlocation = \"ORIGIN\"\n{}", mirrors.concat());
        self.machine(base, &[("containers/registries.conf", &text)])
    }

    fn base(&self) -> String {
        format!("{}/acme/base:1", self.origin.address())
    }
}

struct Machine {
    stage: Stage,
    settings: TempDir,
}

impl Machine {
    fn build(&self) -> Finished {
        let mut command = self.stage.command(&["build", "-t", "made:1", "-f", "Dockerfile", "."]);
        command.env("XDG_CONFIG_HOME", self.settings.path()).env_remove("CONTAINERS_REGISTRIES_CONF");
        finish(&mut command)
    }

    /// Builds, and the outcome is the image.
    #[track_caller]
    fn gets_it(&self) {
        self.build().expect_code(0);
        assert_eq!(self.stage.run(&["run", "made:1"]).expect_code(0).stdout, "the image\n");
    }
}

const HUB: &str = "location = \"MIRROR/hub\"";

#[test]
fn a_mirror_is_asked_first() {
    let Some(harbour) = harbour("a_mirror_is_asked_first") else { return };
    harbour.mirrored(&harbour.base(), &[HUB]).gets_it();
    assert_eq!(harbour.origin.requests(), Vec::<String>::new());
    assert!(harbour.mirror.requests().iter().any(|request| request.contains("/v2/hub/acme/base/blobs/")));

    // Docker's file is about Docker's registry, and names a mirror by its address.
    let dockers = ("docker/daemon.json", r#"{"registry-mirrors": ["http://MIRROR/"]}"#);
    harbour.machine("only-copied:1", &[dockers]).gets_it();

    // What a tag means is not this mirror's to say; the layers are.
    let before = harbour.mirror.requests().len();
    harbour.mirrored(&harbour.base(), &[&format!("{HUB}\npull-from-mirror = \"digest-only\"")]).gets_it();
    assert_eq!(harbour.origin.requests().len(), 1, "{:?}", harbour.origin.requests());
    assert!(harbour.origin.requests()[0].contains("/manifests/1 "));
    assert!(harbour.mirror.requests().len() > before);
}

#[test]
fn the_registry_has_what_a_mirror_does_not_give() {
    let Some(harbour) = harbour("the_registry_has_what_a_mirror_does_not_give") else { return };
    let by_digest = format!("{}/acme/base@{}", harbour.origin.address(), harbour.digest);
    let nobody = format!("location = \"127.0.0.1:{}\"", free_port());
    let has_not = "location = \"MIRROR/elsewhere\"";
    for (mirrors, trouble, only) in [
        (&[nobody.as_str()][..], Trouble::None, ""),
        (&[has_not], Trouble::None, ""),
        (&[nobody.as_str(), has_not, HUB], Trouble::Answer("403 No\r\n"), ""),
        // It lies: about the manifest, and about a layer or the configuration.
        (&[HUB], Trouble::Corrupt(100), "/manifests/"),
        (&[HUB], Trouble::Corrupt(100), "/blobs/"),
        (&[HUB], Trouble::Cut(100), "/blobs/"),
    ] {
        harbour.mirror.make_times(trouble, usize::MAX, only);
        for base in [&harbour.base(), &by_digest] {
            let before = harbour.origin.requests().len();
            harbour.mirrored(base, mirrors).gets_it();
            assert!(harbour.origin.requests().len() > before, "{mirrors:?} {trouble:?} {only}");
        }
    }
}

#[test]
fn a_registry_is_elsewhere_or_blocked() {
    let Some(harbour) = harbour("a_registry_is_elsewhere_or_blocked") else { return };
    let elsewhere = "[[registry]]\nprefix = \"registry.example\"\nlocation = \"MIRROR/hub\"\n";
    let file = "containers/registries.conf.d/acme.conf";
    harbour.machine("registry.example/acme/base:1", &[(file, elsewhere)]).gets_it();

    let blocked = "[[registry]]\nlocation = \"ORIGIN/acme\"\nblocked = true\n";
    let base = harbour.base();
    let refused = harbour.machine(&base, &[(file, blocked)]).build().expect_code(2).stderr;
    let address = harbour.origin.address();
    assert!(
        refused.contains(&format!("{base} is not asked for: `{address}/acme` is blocked\n")),
        "{refused}"
    );
    assert_eq!(harbour.origin.requests(), Vec::<String>::new());

    let broken = harbour.machine(&base, &[(file, "[[registry]\n")]);
    let refused = broken.build().expect_code(2).stderr;
    let path = broken.settings.path().join(file).display().to_string();
    assert!(refused.contains(&format!("cannot understand {path}")), "{refused}");
}
