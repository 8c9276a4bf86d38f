//! Dockerfiles with something wrong in them: nothing panics, and what is drawn hangs together.

use carrack_docker::check::{DockerFacts, check_docker};
use carrack_graph::NodeId;
use proptest::prelude::*;

use super::*;
use crate::grammar::config;

const WHOLE: &str = "\
# syntax=docker/dockerfile:1
ARG V=3 P=$BUILDPLATFORM
FROM --platform=$P alpine:${V%.*} AS base
ARG V
ENV A=${V:-1} B='x y' \\
    C=\"$A\"
SHELL [\"/bin/sh\", \"-ec\"]
WORKDIR /app/../srv
USER 1:2
COPY --chown=$A:0 --chmod=u=rwX --exclude=*.md --parents ./a/./b/** c/ /d/
RUN --mount=type=cache,target=$A,id=c,sharing=locked,mode=0700 --mount=type=bind,from=app,target=/b \\
    --mount=type=secret,id=s,env=T --mount=type=ssh --mount=type=tmpfs,target=/t,size=1g make $A
FROM app AS other
ONBUILD COPY --from=app:2 <<E /x/
e
E
ADD --checksum=0 https://x/y.git?ref=v1&subdir=d /z
RUN <<EOF
#!/bin/bash
$A
EOF
COPY <<-E <<'F' /x/
\t$A \\$B
\tE
f
F
FROM other AS third
LABEL a=$A b=\"c d\"
EXPOSE 80-81/udp $V
VOLUME [\"/v\"]
HEALTHCHECK --interval=1m30s --retries=3 CMD curl x
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT [\"/a\"]
CMD b $c
FROM trigger AS last
COPY --from=base --link a b
COPY --from=2 a b c/
MAINTAINER me
";

/// Something that is put in, or the end of what is taken away.
fn mutations() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    let pieces = [
        "$",
        "${",
        "}",
        "${V:?e}",
        "\"",
        "'",
        "\\",
        "\\\n",
        "\n",
        " ",
        "/",
        "..",
        "/../../",
        ":",
        "@",
        "-",
        "=",
        ",",
        "0",
        "1",
        "2",
        "99999999999999999999",
        "FROM x\n",
        "FROM scratch\n",
        "FROM base AS base\n",
        "--from=base ",
        "--from=3 ",
        "from=0,",
        "<<E\n",
        "E\n",
        "[",
        "]",
        "é",
        "\u{0}",
        "ONBUILD ",
        "RUN x\n",
        "COPY a b\n",
        "ARG A\n",
        "WORKDIR ../..\n",
        "#",
        "target=/",
        "%",
        "?",
        "git@x:y",
    ];
    let piece =
        prop_oneof![8 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"];
    // The first line is the syntax.
    let removed = prop_oneof![4 => Just(0), 2 => 1..3_usize, 1 => 3..12_usize];
    proptest::collection::vec((30..WHOLE.len(), removed, piece), 1..4)
}

fn mutated(mutations: &[(usize, usize, String)]) -> String {
    let mut text = WHOLE.to_owned();
    for (at, removed, piece) in mutations {
        let floor = |mut at: usize, text: &str| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor((*at).min(text.len()), &text);
        let end = floor((start + removed).min(text.len()), &text).max(start);
        text.replace_range(start..end, piece);
    }
    text
}

/// How many layers a root has on top of its base image, and whether it has one.
fn layers(lowered: &Lowered, root: NodeId) -> usize {
    match lowered.graph.op(root) {
        Op::Base(base) => usize::from(base.image.is_some()),
        Op::Run(run) => 1 + layers(lowered, run.root),
        Op::Copy(copy) => 1 + layers(lowered, copy.onto),
        Op::Folder(folder) => 1 + layers(lowered, folder.onto),
        other => panic!("{other:?}"),
    }
}

fn hangs_together(text: &str, target: Option<usize>) {
    let Ok(dockerfile) = parse(&source(text)) else { return };
    let mut request = request();
    let report = check_docker(&dockerfile, &request, &DockerFacts::default());
    assert!(report.findings.iter().all(|finding| text.get(finding.span.range.clone()).is_some()), "{text}");
    let files = Context::Folder { folder: PathBuf::from("/files"), filter: None };
    request.contexts.insert("files".to_owned(), files);
    let named = target.and_then(|target| dockerfile.stages.get(target)?.from.name.as_ref());
    request.target = named.map(|name| name.as_str().to_owned());
    match lower(&dockerfile, &request, &Images::new()) {
        Ok(lowered) => {
            let Op::Stage(stage) = lowered.graph.op(lowered.image) else { panic!() };
            let config: Value = serde_json::from_slice(&stage.config).unwrap();
            let entries = config["history"].as_array().unwrap().iter();
            let with_layer = entries.filter(|entry| entry["empty_layer"] != true).count();
            assert_eq!(with_layer, layers(&lowered, stage.root), "{text}");
        }
        Err(LowerError::Refused { span, refusal }) => {
            assert!(text.get(span.range).is_some(), "{refusal} {text}");
        }
        Err(LowerError::Image { span, .. }) => assert!(text.get(span.range).is_some(), "{text}"),
    }
}

#[test]
fn what_is_mutated_is_drawn_itself() {
    for (target, name) in ["base", "other", "third", "last"].into_iter().enumerate() {
        let asked = |request: &mut Request| request.target = Some(name.to_owned());
        lowered(WHOLE, asked);
        hangs_together(WHOLE, Some(target));
    }
}

/// Whole instructions in any order.
fn recombined() -> impl Strategy<Value = String> {
    let lines = [
        "FROM scratch AS a",
        "FROM a AS b",
        "FROM b AS a",
        "FROM alpine AS b",
        "FROM app",
        "FROM trigger AS c",
        "FROM $A",
        "FROM c",
        "FROM --platform=$P alpine",
        "FROM trigger-from",
        "FROM bare",
        "ARG A",
        "ARG A=1 B=$A C",
        "ARG P=linux/$A",
        "ENV A=$B B=${A:+x$C}",
        "ENV A ${A//1/$B}",
        "WORKDIR $A/..",
        "WORKDIR /$B",
        "COPY --from=a x y",
        "COPY --from=b x y",
        "COPY --from=0 x y",
        "COPY --from=2 x y",
        "COPY --from=files $A /z/",
        "COPY . .",
        "COPY <<E /e\n$A \\\nE",
        "ADD $A $B /",
        "ADD https://x/$A.git#$B /",
        "RUN --mount=from=b,target=/$A,source=$B x",
        "RUN --mount=type=cache,target=$A,id=$B x",
        "RUN <<$A\n#!x\n$A",
        "RUN []",
        "ONBUILD RUN $A",
        "ONBUILD COPY --from=b x y",
        "ONBUILD ARG A=3",
        "USER $A:$B",
        "EXPOSE $A $B",
        "VOLUME /$A",
        "CMD $A",
        "CMD []",
        "ENTRYPOINT [\"$A\"]",
        "SHELL [\"$A\"]",
        "LABEL $A=$B",
        "STOPSIGNAL 9",
        "HEALTHCHECK NONE",
        "HEALTHCHECK --interval=9s CMD $A",
    ];
    proptest::collection::vec(proptest::sample::select(lines.to_vec()), 1..14)
        .prop_map(|lines| format!("FROM alpine AS a\n{}\n", lines.join("\n")))
}

proptest! {
    #![proptest_config(config(6000))]

    #[test]
    fn mutated_files_are_drawn_or_refused(mutations in mutations(), target in proptest::option::of(0..4_usize)) {
        hangs_together(&mutated(&mutations), target);
    }

    #[test]
    fn recombined_files_are_drawn_or_refused(text in recombined(), target in proptest::option::of(0..4_usize)) {
        hangs_together(&text, target);
    }
}
