//! Which stages are drawn, what they are based on, and what people see of them.

use super::*;

const THREE: &str = "\
FROM alpine AS Build
RUN build
FROM alpine AS test
RUN test
FROM build
COPY --from=0 /a /b
";

#[test]
fn only_what_the_target_needs_is_drawn() {
    let of = |target: Option<&str>| {
        let lowered = lowered(THREE, |request| request.target = target.map(str::to_owned));
        let commands = lowered.graph.ops().iter().filter_map(|op| match op {
            Op::Run(run) => run.argv.last().cloned(),
            Op::Copy(_) => Some("copy".to_owned()),
            _ => None,
        });
        (lowered.stage.clone(), commands.collect::<Vec<_>>().join(" "))
    };
    let is = |stage: &str, commands: &str| (stage.to_owned(), commands.to_owned());
    assert_eq!(of(None), is("2", "build copy"));
    assert_eq!(of(Some("BUILD")), is("build", "build"));
    assert_eq!(of(Some("test")), is("test", "test"));
    let images = Images::new();
    let mut request = request();
    request.target = Some("test".to_owned());
    let text = "FROM nowhere AS a\nRUN x\nFROM alpine AS test\n";
    lower(&parse(&source(text)).unwrap(), &request, &images).unwrap();
    assert_eq!(*images.asked.borrow(), ["docker.io/library/alpine:latest linux/amd64"]);
    // Nobody is asked twice.
    let text = "FROM alpine\nFROM alpine\nCOPY --from=0 a b\nCOPY --from=alpine a b\nCOPY --from=app a b\nCOPY --from=app a b\n";
    request.target = None;
    lower(&parse(&source(text)).unwrap(), &request, &images).unwrap();
    assert_eq!(images.asked.borrow().len(), 3);
}

#[test]
fn names_mean_the_last_stage_that_has_them() {
    let text = "FROM scratch AS a\nRUN 1\nFROM a AS a\nRUN 2\nFROM a\nRUN 3\n";
    assert_eq!(
        drawn(&lowered(text, plain)),
        "\
0 scratch
1 run on 0 [\"/bin/sh\", \"-c\", \"1\"]
2 run on 1 [\"/bin/sh\", \"-c\", \"2\"]
3 run on 2 [\"/bin/sh\", \"-c\", \"3\"]
4 image 2 of 3
"
    );
    // An image may have the name of a stage that comes later.
    let image = lowered("FROM alpine\nRUN 1\nFROM scratch AS alpine\nFROM alpine\nCOPY --from=0 a b", plain);
    assert!(drawn(&image).starts_with("0 base docker.io/library/alpine:latest linux/amd64\n"));
}

#[test]
fn named_contexts_stand_for_stages_and_images() {
    let folder = |name: &str| {
        let name = name.to_owned();
        move |request: &mut Request| {
            let context = Context::Folder { folder: PathBuf::from("/other"), filter: None };
            request.contexts.insert(name, context);
        }
    };
    let text = "FROM nowhere AS deps\nRUN x\nFROM scratch\nCOPY --from=deps /a /b\n";
    let stage = lowered(text, folder("deps"));
    assert_eq!(
        drawn(&stage),
        "\
0 context deps /other
1 scratch
2 copy on 1 0:. → //
3 scratch
4 copy on 3 2:a → /b
5 image 1 of 4
"
    );
    let files =
        lowered("FROM scratch\nCOPY --from=files /a /b\nRUN --mount=from=files,target=/f x", folder("files"));
    assert_eq!(
        drawn(&files),
        "\
0 scratch
1 context files /other
2 copy on 0 1:a → /b
3 run on 2 [\"/bin/sh\", \"-c\", \"x\"] bind(/f 1:/)
4 image 0 of 3
"
    );
    for name in ["nowhere", "nowhere:latest", "docker.io/library/nowhere"] {
        let based = lowered("FROM nowhere\nRUN x\n", folder(name));
        assert!(
            drawn(&based).starts_with(&format!(
                "0 context {name} /other\n1 scratch\n2 copy on 1 0:. → //\n3 run on 2"
            ))
        );
        assert_eq!(history(&based), [format!("+ FROM {name}"), "+ RUN /bin/sh -c x # buildkit".to_owned()]);
    }
    let image = lowered("FROM nowhere\nCOPY --from=nowhere a b\n", |request| {
        request.contexts.insert("nowhere".into(), Context::Image { reference: "alpine:3".into() });
    });
    assert_eq!(
        drawn(&image),
        "0 base docker.io/library/alpine:3 linux/amd64\n1 copy on 0 0:a → /b\n2 image 0 of 1\n"
    );
    let git = lowered("FROM scratch\nCOPY --from=src a b", |request| {
        request.contexts.insert("src".into(), Context::Git { address: "https://x/y.git#v1".into() });
    });
    assert!(drawn(&git).contains("1 git https://x/y.git ref v1\n"));
}

#[test]
fn triggers_of_base_images_come_first() {
    let image = lowered("FROM trigger\nRUN own\n", plain);
    assert_eq!(
        drawn(&image),
        "\
0 base docker.io/library/trigger:latest linux/amd64
1 context context /work
2 copy on 0 1:. → /app
3 run on 2 [\"/bin/sh\", \"-c\", \"make $V\\n\"] V=1
4 run on 3 [\"/bin/sh\", \"-c\", \"own\"] V=1
5 image 0 of 4
"
    );
    let digest = Digest::of(b"docker.io/library/trigger:latest");
    // Every trigger counts as a step, whether or not it is one.
    assert_eq!(
        steps(&image),
        [
            &format!("[1/5] FROM docker.io/library/trigger:latest@{digest}"),
            "[2/5] ONBUILD COPY . /app",
            "[3/5] ONBUILD RUN <<EOF (make 1)",
            "[4/5] RUN own",
        ]
    );
    assert_eq!(settings(&image).get("OnBuild"), None);
    let Op::Copy(copy) = image.graph.op(image.graph.nodes().nth(2).unwrap()) else { panic!() };
    assert_eq!(copy.step.origin.as_ref().unwrap().range, 0..12);

    let stage = lowered("FROM scratch AS a\nONBUILD RUN x\nRUN y\nFROM a AS b\nRUN z\nFROM b\n", plain);
    assert_eq!(
        history(&stage),
        ["+ RUN /bin/sh -c y # buildkit", "+ RUN /bin/sh -c x # buildkit", "+ RUN /bin/sh -c z # buildkit"]
    );
    assert_eq!(settings(&stage).get("OnBuild"), None);
    let needs = lowered("FROM alpine AS build\nRUN build\nFROM trigger-from\n", plain);
    assert!(drawn(&needs).contains("copy on 2 1:a → /b"), "{}", drawn(&needs));
}

#[test]
fn steps_are_counted_as_people_know_it() {
    for (text, expected) in [
        ("FROM scratch\nCOPY a b\nRUN x", &["FROM scratch", "[1/2] COPY a b", "[2/2] RUN x"][..]),
        ("FROM scratch AS only\nCOPY a b", &["FROM scratch", "[1/1] COPY a b"]),
        // What is not there is part of the count.
        ("FROM scratch\nWORKDIR /\nCOPY a b", &["FROM scratch", "[1/2] COPY a b"]),
        (
            "FROM scratch AS a\nCOPY a b\nFROM a\nCOPY c d",
            &["FROM scratch", "[a 1/1] COPY a b", "[stage-1 1/1] COPY c d"],
        ),
        // A cache mount or an image is something besides the only stage.
        (
            "FROM scratch\nRUN --mount=type=cache,target=/c x",
            &["FROM scratch", "[stage-0 1/1] RUN --mount=type=cache,target=/c x"],
        ),
        ("FROM scratch\nENV A=1\nCOPY $A ${B:-c} \"d\"", &["FROM scratch", "[1/1] COPY 1 c d"]),
        (
            "FROM scratch\nARG A=1\nrun echo \"$A\" '$A' $B ${B} ${B:-\"$A\"}",
            &["FROM scratch", "[1/1] RUN echo \"1\" '$A' $B ${B} ${B:-\"$A\"}"],
        ),
        (
            "FROM scratch\nENV T=1\nRUN --mount=type=secret,id=t,env=T x $T",
            &["FROM scratch", "[1/1] RUN --mount=type=secret,id=t,env=T x ****"],
        ),
        ("FROM scratch\nworkdir /a", &["FROM scratch", "[1/1] WORKDIR /a"]),
    ] {
        assert_eq!(steps(&lowered(text, plain)), expected, "{text}");
    }
    let many = format!("FROM scratch AS a\n{}FROM a\nRUN x", "RUN x\n".repeat(10));
    let lowered = lowered(&many, plain);
    assert_eq!(steps(&lowered)[1], "[a  1/10] RUN x");
    assert_eq!(steps(&lowered)[10], "[a 10/10] RUN x");
}

#[test]
fn nothing_kept_is_used_if_that_is_asked_for() {
    let text = "FROM scratch AS a\nRUN 1\nFROM a AS b\nRUN 2\nCOPY x y";
    let uncached = |asked: &dyn Fn(&mut Request)| {
        let drawn = drawn(&lowered(text, asked));
        drawn.lines().filter(|line| line.contains(" uncached")).count()
    };
    assert_eq!(uncached(&plain), 0);
    assert_eq!(uncached(&|request| request.no_cache = true), 3);
    assert_eq!(uncached(&|request| request.no_cache_filter = ["B".to_owned()].into()), 2);
}
