//! What builds make, keep and tell.

use std::collections::BTreeMap;
use std::fs;

use carrack_base::StepOutcome;
use carrack_buildkit::{BuildArgument, BuildKitError, Client, Dockerfile, Output, To};

use crate::dock::{Dock, Site};

const SERVICES: &str = "FROM scratch AS base\nCOPY rootfs /\nFROM base AS compiled\nARG WHO=nobody\n\
    RUN echo compiled for $WHO\nFROM compiled AS server\nRUN echo server\nFROM compiled AS worker\nRUN echo worker\n\
    FROM compiled AS broken\nRUN echo before && \\\n    exit 7\n";

fn for_each_client(test: &str, check: impl Fn(&Site<'_>)) {
    let Some(dock) = Dock::start(test) else { return };
    for site in dock.clients(test) {
        check(&site);
        // What one client had built must not be there for the next.
        let images = dock.docker.run(&["image", "ls", "--quiet", "--all"]).stdout;
        images.split_whitespace().for_each(|image| drop(dock.docker.run(&["image", "rm", "--force", image])));
        dock.docker.run(&["builder", "prune", "--force", "--all"]).expect_code(0);
    }
}

#[test]
fn services_of_one_dockerfile_share_their_steps() {
    for_each_client("services_of_one_dockerfile_share_their_steps", |site| {
        let labels = BTreeMap::from([("owner".to_owned(), "clinic".to_owned())]);
        let builds = ["server", "worker"].map(|name| {
            let mut build = site.plain(SERVICES, name);
            build.labels = labels.clone();
            build
        });
        let (images, events) = site.built(&builds);
        let mut ran = events.steps(StepOutcome::Ran);
        ran.sort_unstable();
        let once = [
            "base 1/1 · rootfs /",
            "compiled 1/1 · echo compiled for nobody",
            "server 1/1 · echo server",
            "worker 1/1 · echo worker",
        ];
        assert_eq!(ran, once, "each step once, however many clients hear of it");
        assert_eq!(events.output().matches("compiled for nobody").count(), 1, "{}", events.output());
        for (image, name) in images.iter().zip(["server", "worker"]) {
            assert_eq!((image.name.as_str(), image.unchanged), (name, false));
            let format = "{{.Id}} {{.Config.Labels.owner}}";
            let inspected =
                site.dock.docker.run(&["image", "inspect", "--format", format, name]).expect_code(0);
            assert_eq!(inspected.stdout.trim(), format!("{} clinic", image.config));
        }

        let (again, events) = site.built(&builds);
        assert_eq!(events.steps(StepOutcome::Ran), [""; 0]);
        assert_eq!(events.steps(StepOutcome::Reused).len(), 4);
        assert!(again.iter().all(|image| image.unchanged));
        assert_eq!(
            again.iter().map(|image| image.config).collect::<Vec<_>>(),
            images.iter().map(|image| image.config).collect::<Vec<_>>()
        );

        // A label makes another image without any step.
        let mut other = builds;
        other[0].labels.clear();
        let (other, _) = site.built(&other);
        assert_eq!(other.iter().map(|image| image.unchanged).collect::<Vec<_>>(), [false, true]);
    });
}

#[test]
fn a_failed_instruction_and_its_place() {
    for_each_client("a_failed_instruction_and_its_place", |site| {
        let (result, events) = site.build(&[site.plain(SERVICES, "broken")], &Default::default(), |_| {});
        let Err(BuildKitError::StepFailed { build, exit, place, .. }) = result else { panic!("{result:?}") };
        assert_eq!((build.as_str(), exit), ("broken", Some(7)));
        let place = place.unwrap();
        assert_eq!(&place.source.text[place.range], "RUN echo before && \\\n    exit 7");
        assert!(events.output().contains("before"), "{}", events.output());
        assert_eq!(events.steps(StepOutcome::Failed).len(), 1);
    });
}

#[test]
fn dockerfiles_that_make_no_sense() {
    for_each_client("dockerfiles_that_make_no_sense", |site| {
        let error = |text: &str, target: &str| {
            let (result, _) = site.build(&[site.plain(text, target)], &Default::default(), |_| {});
            result.unwrap_err()
        };
        let wrong = error("FROM scratch AS app\nCOPPY a b\n", "app");
        let BuildKitError::Dockerfile { said, place: Some(place), .. } = wrong else { panic!("{wrong:?}") };
        assert!(said.starts_with("unknown instruction: COPPY"), "{said}");
        assert_eq!(&place.source.text[place.range], "COPPY a b");
        let wrong = error("FROM scratch AS app\n", "other");
        assert!(matches!(wrong, BuildKitError::Dockerfile { place: None, .. }), "{wrong:?}");
        let wrong = error("FROM scratch AS app\nCOPY nowhere /\n", "app");
        let BuildKitError::StepFailed { exit: None, place: Some(place), .. } = wrong else {
            panic!("{wrong:?}")
        };
        assert_eq!(&place.source.text[place.range], "COPY nowhere /");
        let wrong = error("FROM 127.0.0.1:1/nothing AS app\n", "app");
        let BuildKitError::Refused { place: Some(place), .. } = wrong else { panic!("{wrong:?}") };
        assert_eq!(&place.source.text[place.range], "FROM 127.0.0.1:1/nothing AS app");
    });
}

#[test]
fn what_is_left_out_of_the_context_and_what_is_passed() {
    for_each_client("what_is_left_out_of_the_context_and_what_is_passed", |site| {
        let context = site.dock.context();
        fs::write(context.join("secret"), "lent").unwrap();
        for name in ["kept", "left"] {
            fs::write(context.join("rootfs").join(name), name).unwrap();
        }
        let text = "FROM scratch AS app\nCOPY rootfs /\nARG GIVEN\nARG HTTP_PROXY\n\
            RUN --mount=type=secret,id=token test ! -e /left && cat /kept && \
            echo \" $GIVEN $HTTP_PROXY $(cat /run/secrets/token)\"\n";
        let mut build = site.plain(text, "app");
        build.dockerfile =
            Dockerfile::Text { text: text.to_owned(), ignore: Some("rootfs/left\n".to_owned()) };
        build.secrets = vec![format!("id=token,src={}", context.join("secret").display())];
        let value = |text: &str| BuildArgument::Value(text.to_owned());
        build.arguments = [("GIVEN", value("a b")), ("HTTP_PROXY", value("http://proxy"))]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let (_, events) = site.built(&[build]);
        assert!(events.output().contains("kept a b http://proxy lent"), "{}", events.output());
    });
}

#[test]
fn files_instead_of_images() {
    for_each_client("files_instead_of_images", |site| {
        let folder = site.dock.folder.path().join("out");
        let archive = site.dock.folder.path().join("archive.tar");
        let build = |name: &str, output: Output| {
            let mut build = site.plain(SERVICES, name);
            build.outputs = vec![output];
            build
        };
        let (images, _) = site.built(&[
            build("server", Output::Folder(folder.clone())),
            build("worker", Output::Tar(To::File(archive.clone()))),
        ]);
        assert!(images.is_empty(), "files are no images");
        assert!(folder.join("bin/busybox").is_file());
        assert!(archive.is_file());

        let (images, _) = site.built(&[build("server", Output::DockerArchive(To::File(archive.clone())))]);
        site.dock.docker.run(&["image", "rm", "--force", "server:latest"]);
        site.dock.docker.run(&["load", "--input", archive.to_str().unwrap()]).expect_code(0);
        let id = site
            .dock
            .docker
            .run(&["image", "inspect", "--format", "{{.Id}}", "server:latest"])
            .expect_code(0);
        assert_eq!(id.stdout.trim(), images[0].config.to_string());
        fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn what_a_client_cannot_do_is_told_before_anything_starts() {
    let Some(dock) = Dock::start("what_a_client_cannot_do_is_told_before_anything_starts") else {
        return;
    };
    let sites = dock.clients("what_a_client_cannot_do_is_told_before_anything_starts");
    let Some(site) = sites.iter().find(|site| matches!(site.client, Client::Classic { .. })) else { return };
    let refused = |change: &dyn Fn(&mut carrack_buildkit::DockerBuild)| {
        let mut build = site.plain(SERVICES, "server");
        change(&mut build);
        let (result, events) = site.build(&[build], &Default::default(), |_| {});
        assert!(events.0.is_empty(), "{:?}", events.0);
        match result.unwrap_err() {
            BuildKitError::Unsupported { what, .. } => what,
            BuildKitError::NotThere { what, .. } => what.to_owned(),
            error => panic!("{error:?}"),
        }
    };
    assert_eq!(refused(&|build| build.cache_to = vec!["type=inline".to_owned()]), "--cache-to");
    let platforms = ["linux/amd64", "linux/arm64"].map(|platform| platform.parse().unwrap());
    assert_eq!(refused(&|build| build.platforms = platforms.to_vec()), "more than one --platform");
    assert_eq!(refused(&|build| build.outputs = vec![Output::OciFolder("a".into())]), "--output type=oci");
    assert_eq!(refused(&|build| build.secrets = vec!["id=a,src=/nowhere".to_owned()]), "secret");
    let nowhere = || vec![Output::Tar(To::File("/nowhere/a.tar".into()))];
    assert_eq!(refused(&|build| build.outputs = nowhere()), "output folder");
    assert_eq!(refused(&|build| build.dockerfile = Dockerfile::File("/nowhere".into())), "Dockerfile");
}
