//! What can't be, where, and what is said about it.

use super::*;

#[test]
fn what_can_not_be_is_refused_at_its_place() {
    for (text, place, expected) in [
        ("# syntax=me/mine:1\nFROM scratch", "me/mine:1", "the syntax is that of `me/mine:1`"),
        ("FROM $A", "$A", "`$A` names no image"),
        ("FROM a/B", "a/B", "`a/B` can't name an image"),
        ("FROM --platform=$X scratch", "$X", "`` is no platform"),
        ("FROM --platform=a/b/c/d scratch", "a/b/c/d", "`a/b/c/d` is no platform"),
        ("ARG A=${B:?no}\nFROM scratch", "${B:?no}", "B is not set: no"),
        (
            "FROM broken",
            "FROM broken",
            "the configuration of docker.io/library/broken:latest can't be understood",
        ),
        ("FROM trigger-bad", "FROM trigger-bad", "ONBUILD FROM x: ONBUILD can't have FROM"),
        ("FROM scratch\nENV A=${B:?no}", "ENV A=${B:?no}", "B is not set: no"),
        ("FROM scratch\nENV A=${", "ENV A=${", "`` is no way to change a value"),
        ("FROM scratch\nCOPY --from=$A a b", "$A", "`$A` has a variable in it"),
        ("FROM scratch\nCOPY --from=1 a b", "1", "there is no stage 1"),
        ("FROM scratch\nCOPY --from=0 a b", "COPY --from=0 a b", "stages need each other: 0"),
        ("FROM scratch AS a\nCOPY --from=a a b", "COPY --from=a a b", "stages need each other: a"),
        (
            "FROM scratch AS a\nRUN --mount=from=b,target=/b x\nFROM a AS b",
            "FROM a AS b",
            "stages need each other: a, b",
        ),
        (
            "FROM scratch AS a\nCOPY --from=b a b\nFROM scratch AS b\nFROM a",
            "COPY --from=b a b",
            "the stage `b` comes later",
        ),
        ("FROM scratch\nRUN []", "RUN []", "there is nothing to run"),
        ("FROM scratch\nRUN --device=gpu x", "RUN --device=gpu x", "the device `gpu` is asked for"),
        (
            "FROM scratch\nRUN --mount=type=cache,target=/ x",
            "RUN --mount=type=cache,target=/ x",
            "a mount can't be at /",
        ),
        (
            "FROM scratch\nRUN --mount=type=cache,target=/a,mode=$M x",
            "RUN --mount=type=cache,target=/a,mode=$M x",
            "the mount's `mode` can't be ``",
        ),
        (
            "FROM scratch\nRUN --mount=type=tmpfs,target=/a,size=much x",
            "RUN --mount=type=tmpfs,target=/a,size=much x",
            "the mount's `size` can't be `much`",
        ),
        ("FROM scratch\nCOPY --chmod=999 a b", "COPY --chmod=999 a b", "`999` are no permissions"),
        ("FROM scratch\nCOPY https://x/y b", "COPY https://x/y b", "`https://x/y` is not in the context"),
        ("FROM scratch\nCOPY git@x:y b", "COPY git@x:y b", "`git@x:y` is not in the context"),
        (
            "FROM scratch\nADD --checksum=x a b",
            "ADD --checksum=x a b",
            "a checksum is for one URL or repository",
        ),
        (
            "FROM scratch\nADD --checksum=x https://x/a https://x/b c/",
            "ADD --checksum=x https://x/a https://x/b c/",
            "a checksum is for one URL or repository",
        ),
        (
            "FROM scratch\nADD --checksum=x https://x/a b",
            "ADD --checksum=x https://x/a b",
            "`x` is no checksum",
        ),
        (
            "FROM scratch\nADD https://x/a.git?b=c d",
            "ADD https://x/a.git?b=c d",
            "`https://x/a.git?b=c` has `b=c`, which is not known",
        ),
        ("FROM scratch\nEXPOSE x", "EXPOSE x", "`x` is no port"),
        ("FROM scratch\nEXPOSE 80/http", "EXPOSE 80/http", "`80/http` is no port"),
        ("FROM scratch\nEXPOSE 90-80", "EXPOSE 90-80", "`90-80` is no port"),
        ("FROM scratch\nEXPOSE 65536", "EXPOSE 65536", "`65536` is no port"),
        ("FROM scratch\nSTOPSIGNAL 0", "STOPSIGNAL 0", "`0` is no signal"),
        ("FROM scratch\nSTOPSIGNAL SIGNOTHING", "STOPSIGNAL SIGNOTHING", "`SIGNOTHING` is no signal"),
        (
            "FROM scratch\nHEALTHCHECK --interval=1us CMD x",
            "HEALTHCHECK --interval=1us CMD x",
            "--interval can't be `1us`",
        ),
        ("FROM scratch\nVOLUME $A", "VOLUME $A", "a volume has no path"),
    ] {
        let (at, refusal) = refused(text, plain);
        assert_eq!((at.as_str(), refusal.to_string().as_str()), (place, expected), "{text}");
    }
}

#[test]
fn variables_can_not_double_for_ever() {
    let mut text = "FROM scratch\nENV A=0123456789abcdef\n".to_owned();
    text.push_str(&"ENV A=$A$A\n".repeat(60));
    let (_, refusal) = refused(&text, plain);
    assert_eq!(refusal.to_string(), "the text is longer than 16 MiB with its variables");
}

#[test]
fn what_is_asked_for_can_be_wrong_too() {
    let (_, refusal) = refused("FROM scratch AS Builder\nFROM scratch AS test", |request| {
        request.target = Some("bulider".to_owned());
    });
    assert_eq!(
        refusal,
        Refusal::UnknownTarget {
            name: "bulider".to_owned(),
            nearest: Some("builder".to_owned()),
            known: vec!["builder".to_owned(), "test".to_owned()],
        }
    );
    let (_, refusal) = refused("FROM scratch", |request| {
        request.build_args.insert("SOURCE_DATE_EPOCH".into(), "now".into());
    });
    assert_eq!(refusal, Refusal::BadEpoch { found: "now".to_owned() });
    for syntax in
        ["docker/dockerfile:1", "docker/dockerfile-upstream:master", "docker.io/docker/dockerfile:1.7-labs"]
    {
        lowered(&format!("# syntax={syntax}\nFROM scratch"), plain);
    }
}

#[test]
fn images_that_can_not_be_had_are_told_with_what_asks_for_them() {
    for (text, place, expected) in [
        ("FROM nothing", "FROM nothing", "docker.io/library/nothing:latest"),
        ("FROM scratch\nCOPY --from=no/thing a b", "COPY --from=no/thing a b", "docker.io/no/thing:latest"),
        ("FROM trigger-from", "FROM trigger-from", "docker.io/library/build:latest"),
    ] {
        let error = lower(&parse(&source(text)).unwrap(), &request(), &Images::new()).unwrap_err();
        let LowerError::Image { span, reference, source: Missing } = error else { panic!("{error:?}") };
        assert_eq!((&text[span.range], reference.as_str()), (place, expected));
    }
}
