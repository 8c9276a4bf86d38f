//! The image's configuration.

use super::*;

#[test]
fn each_instruction_has_its_field_and_its_entry() {
    for (text, field, value, entry) in [
        ("ENV A=1 B=\"2 3\"", "Env", json!(["A=1", "B=2 3"]), "ENV A=1 B=2 3"),
        ("LABEL a=1 b.c=\"2 3\"", "Labels", json!({ "a": "1", "b.c": "2 3" }), "LABEL a=1 b.c=2 3"),
        ("EXPOSE 80 53/UDP", "ExposedPorts", json!({ "80/tcp": {}, "53/udp": {} }), "EXPOSE [53/udp 80/tcp]"),
        (
            "EXPOSE 8000-8002",
            "ExposedPorts",
            json!({ "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {} }),
            "EXPOSE [8000/tcp 8001/tcp 8002/tcp]",
        ),
        ("EXPOSE 127.0.0.1:8080:80", "ExposedPorts", json!({ "80/tcp": {} }), "EXPOSE [80/tcp]"),
        ("VOLUME /a /b", "Volumes", json!({ "/a": {}, "/b": {} }), "VOLUME [/a /b]"),
        ("VOLUME [\"/a b\"]", "Volumes", json!({ "/a b": {} }), "VOLUME [/a b]"),
        ("USER 1000:1000", "User", json!("1000:1000"), "USER 1000:1000"),
        ("CMD [\"a\", \"b c\"]", "Cmd", json!(["a", "b c"]), "CMD [\"a\" \"b c\"]"),
        ("CMD a $B", "Cmd", json!(["/bin/sh", "-c", "a $B"]), "CMD [\"/bin/sh\" \"-c\" \"a $B\"]"),
        ("ENTRYPOINT [\"a\"]", "Entrypoint", json!(["a"]), "ENTRYPOINT [\"a\"]"),
        (
            "ENTRYPOINT a",
            "Entrypoint",
            json!(["/bin/sh", "-c", "a"]),
            "ENTRYPOINT [\"/bin/sh\" \"-c\" \"a\"]",
        ),
        ("SHELL [\"/bin/bash\", \"-c\"]", "Shell", json!(["/bin/bash", "-c"]), "SHELL [/bin/bash -c]"),
        ("STOPSIGNAL SIGQUIT", "StopSignal", json!("SIGQUIT"), "STOPSIGNAL SIGQUIT"),
        ("STOPSIGNAL rtmin+3", "StopSignal", json!("rtmin+3"), "STOPSIGNAL rtmin+3"),
        ("STOPSIGNAL 9", "StopSignal", json!("9"), "STOPSIGNAL 9"),
        (
            "HEALTHCHECK NONE",
            "Healthcheck",
            json!({ "Test": ["NONE"] }),
            "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
        ),
        (
            "HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=2 CMD curl x",
            "Healthcheck",
            json!({ "Test": ["CMD-SHELL", "curl x"], "Interval": 90_000_000_000_u64, "Timeout": 1_500_000_000, "Retries": 2 }),
            "HEALTHCHECK {Test:[CMD-SHELL curl x] Interval:1m30s Timeout:1.5s StartPeriod:0s StartInterval:0s Retries:2}",
        ),
        (
            "HEALTHCHECK --start-period=1ms --start-interval=2h CMD [\"a\", \"b\"]",
            "Healthcheck",
            json!({ "Test": ["CMD", "a", "b"], "StartPeriod": 1_000_000, "StartInterval": 7_200_000_000_000_u64 }),
            "HEALTHCHECK {Test:[CMD a b] Interval:0s Timeout:0s StartPeriod:1ms StartInterval:2h0m0s Retries:0}",
        ),
    ] {
        let lowered = lowered(&format!("FROM scratch\n{text}\n"), plain);
        assert_eq!(settings(&lowered)[field], value, "{text}");
        assert_eq!(history(&lowered), [format!("- {entry}")], "{text}");
    }
    let author = lowered("FROM scratch\nMAINTAINER A <a@b>\n", plain);
    assert_eq!(config(&author)["author"], "A <a@b>");
    assert_eq!(history(&author), ["- MAINTAINER A <a@b>"]);
}

#[test]
fn variables_are_expanded_in_settings() {
    let text = "FROM scratch\nARG P=80 N=a Q=\"81 82\"\nEXPOSE $P $Q\nLABEL $N=$P\nUSER $N\nVOLUME /$N\n\
                STOPSIGNAL ${S:-9}\n";
    let lowered = lowered(text, plain);
    let settings = settings(&lowered);
    assert_eq!(settings["ExposedPorts"], json!({ "80/tcp": {}, "81/tcp": {}, "82/tcp": {} }));
    assert_eq!(settings["Labels"], json!({ "a": "80" }));
    assert_eq!(settings["User"], "a");
    assert_eq!(settings["Volumes"], json!({ "/a": {} }));
    assert_eq!(settings["StopSignal"], "9");
}

#[test]
fn working_folders_build_on_each_other() {
    for (text, folder, entries) in [
        ("WORKDIR /a", "/a", &["+ WORKDIR /a"][..]),
        ("WORKDIR a", "/a", &["+ WORKDIR /a"]),
        ("WORKDIR /a\nWORKDIR b/../c/", "/a/c", &["+ WORKDIR /a", "+ WORKDIR /a/c"]),
        ("WORKDIR /a\nWORKDIR ../../..", "/", &["+ WORKDIR /a", "- WORKDIR /"]),
        ("WORKDIR /", "/", &["- WORKDIR /"]),
        ("ENV A=/x\nWORKDIR $A/y", "/x/y", &["- ENV A=/x", "+ WORKDIR /x/y"]),
    ] {
        let lowered = lowered(&format!("FROM scratch\n{text}"), plain);
        assert_eq!(settings(&lowered)["WorkingDir"], folder, "{text}");
        assert_eq!(history(&lowered), entries, "{text}");
    }
    // The folder that the base image says is where relative ones begin, and the user owns what is made.
    let based = lowered("FROM app\nWORKDIR x", plain);
    assert!(drawn(&based).contains("folder on 0 /srv/x owner app"), "{}", drawn(&based));
    let bare = lowered("FROM bare\nRUN x", plain);
    assert_eq!(settings(&bare), json!({}));
    assert!(drawn(&bare).contains("run on 0 [\"/bin/sh\", \"-c\", \"x\"]\n"));
}

#[test]
fn what_the_base_image_says_stays() {
    let image = lowered("FROM app", plain);
    let whole = config(&image);
    let expected = json!({
        "Env": ["A=base", "EMPTY="],
        "User": "app",
        "WorkingDir": "/srv",
        "Entrypoint": ["/app"],
        "Cmd": ["serve"],
        "Labels": { "from": "base" },
        "ExposedPorts": { "80/tcp": {} },
        "Volumes": { "/data": {} },
        "Shell": ["/bin/bash", "-ec"],
        "StopSignal": "SIGINT",
        "Unknown": { "kept": true },
    });
    assert_eq!(settings(&image), expected);
    assert_eq!(whole["architecture"], "amd64");
    assert_eq!(whole["created"], "1970-01-01T00:00:00Z");
    assert_eq!(whole["history"], json!([{ "created_by": "ADD base", "created": "2024-01-01T00:00:00Z" }]));
    assert!(whole.get("rootfs").is_none() && whole.get("container").is_none());
    let more = lowered("FROM app\nENV A=mine\nLABEL b=c\nUSER x", |request| {
        request.labels.insert("l".into(), "m".into());
    });
    let settings = settings(&more);
    assert_eq!(settings["Env"], json!(["A=mine", "EMPTY="]));
    assert_eq!(settings["Labels"], json!({ "from": "base", "b": "c", "l": "m" }));
    assert_eq!(settings["User"], "x");
}

#[test]
fn an_entry_point_takes_away_the_command_of_others_only() {
    for (text, command) in [
        ("FROM app\nENTRYPOINT [\"x\"]", Value::Null),
        ("FROM app\nENTRYPOINT [\"x\"]\nCMD [\"y\"]", json!(["y"])),
        ("FROM app\nCMD [\"y\"]\nENTRYPOINT [\"x\"]", json!(["y"])),
        ("FROM app\nCMD []", Value::Null),
        ("FROM scratch AS a\nCMD [\"y\"]\nFROM a\nENTRYPOINT [\"x\"]", Value::Null),
        ("FROM app\nCMD y", json!(["/bin/bash", "-ec", "y"])),
    ] {
        assert_eq!(settings(&lowered(text, plain))["Cmd"], command, "{text}");
    }
}

#[test]
fn programs_are_found_in_every_image() {
    let default = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(config(&lowered("FROM scratch", plain))["config"]["Env"], json!([default]));
    assert_eq!(config(&lowered("FROM bare", plain))["config"]["Env"], json!([default]));
    assert_eq!(config(&lowered("FROM alpine", plain))["config"]["Env"], json!(["PATH=/usr/bin"]));
}

#[test]
fn the_platform_is_the_one_that_was_asked_for() {
    let of = |text: &str, platform: Option<&str>| {
        let config = config(&lowered(text, |request| {
            request.platform = platform.map(|platform| platform.parse().unwrap());
        }));
        format!("{}/{}/{}", config["os"], config["architecture"], config["variant"]).replace('"', "")
    };
    assert_eq!(of("FROM scratch", None), "linux/amd64/null");
    assert_eq!(of("FROM scratch", Some("linux/arm/v7")), "linux/arm/v7");
    assert_eq!(of("FROM alpine", Some("linux/arm64")), "linux/arm64/null");
    assert_eq!(of("FROM --platform=linux/arm64 alpine", None), "linux/arm64/null");
    assert_eq!(of("FROM --platform=linux/arm64 alpine", Some("linux/amd64")), "linux/amd64/null");
}

#[test]
fn every_layer_has_one_entry_in_the_history() {
    let text = "FROM app\nARG A=1\nWORKDIR /\nWORKDIR x\nCOPY a b\nADD a b\nRUN x\nCMD x\nONBUILD RUN y\n";
    let image = lowered(text, plain);
    let layers = image.graph.ops().iter().filter(|op| matches!(op, Op::Run(_) | Op::Copy(_) | Op::Folder(_)));
    let entries = history(&image);
    assert_eq!(entries.iter().filter(|entry| entry.starts_with('+')).count(), layers.count());
    assert_eq!(
        entries,
        [
            "- ARG A=1",
            "- WORKDIR /",
            "+ WORKDIR /x",
            "+ COPY a b # buildkit",
            "+ ADD a b # buildkit",
            "+ RUN |1 A=1 /bin/bash -ec x # buildkit",
            "- CMD [\"/bin/bash\" \"-ec\" \"x\"]",
        ]
    );
    assert_eq!(settings(&image)["OnBuild"], json!(["RUN y"]));
}

#[test]
fn times_are_constant() {
    let epoch = |asked: &dyn Fn(&mut Request)| {
        let lowered = lowered("FROM scratch\nENV A=1", asked);
        let config = config(&lowered);
        let Op::Stage(stage) = lowered.graph.op(lowered.image) else { panic!() };
        assert_eq!(config["created"], config["history"][0]["created"]);
        (config["created"].as_str().unwrap().to_owned(), stage.created)
    };
    assert_eq!(epoch(&plain), ("1970-01-01T00:00:00Z".to_owned(), 0));
    let said = |request: &mut Request| request.source_date_epoch = Some(1_700_000_000);
    assert_eq!(epoch(&said), ("2023-11-14T22:13:20Z".to_owned(), 1_700_000_000));
    let both = |request: &mut Request| {
        request.source_date_epoch = Some(1_700_000_000);
        request.build_args.insert("SOURCE_DATE_EPOCH".into(), "0".into());
    };
    assert_eq!(epoch(&both), ("1970-01-01T00:00:00Z".to_owned(), 0));
}
