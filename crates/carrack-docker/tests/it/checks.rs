//! Each check against what people write: what it has to find, and what it must leave in peace.

use std::collections::BTreeSet;

use carrack_docker::check::{Surroundings, Workspace, check};
use carrack_docker::dockerfile::parse;
use carrack_docker::dockerignore::Dockerignore;

use crate::dockerfile::source;
use crate::pages::shop;

fn surroundings(workspace: Option<Workspace>) -> Surroundings {
    Surroundings { workspace, ignore: Some(Dockerignore::parse("target").unwrap()), ci: Vec::new() }
}

/// What one check marks, with the surroundings of the pages or none.
#[track_caller]
fn marked(name: &str, text: &str, workspace: Option<Workspace>) -> Vec<String> {
    assert!(carrack_docker::check::named(name).is_some(), "{name}");
    let dockerfile = parse(&source(text)).unwrap();
    let findings = check(&dockerfile, &surroundings(workspace));
    let own = findings.iter().filter(|finding| finding.check.name == name);
    own.map(|finding| text[finding.span.range.clone()].to_owned()).collect()
}

/// `name` finds something in each of `wrong`, and nothing in any of `right`.
#[track_caller]
fn table(name: &str, wrong: &[&str], right: &[&str]) {
    for text in wrong {
        assert!(!marked(name, text, Some(shop())).is_empty(), "{name} finds nothing in\n{text}");
    }
    for text in right {
        let marks = marked(name, text, Some(shop()));
        assert!(marks.is_empty(), "{name} marks {marks:?} in\n{text}");
    }
}

/// Lines in a stage that builds in `/app`.
fn stage(lines: &str) -> String {
    format!("FROM rust:1.95-bookworm AS build\nWORKDIR /app\n{lines}\n")
}

#[track_caller]
fn stages(name: &str, wrong: &[&str], right: &[&str]) {
    let texts = |list: &[&str]| list.iter().map(|lines| stage(lines)).collect::<Vec<_>>();
    let (wrong, right) = (texts(wrong), texts(right));
    table(name, &borrowed(&wrong), &borrowed(&right));
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[test]
fn stubs() {
    const STUB: &str = "COPY Cargo.toml Cargo.lock ./\nRUN mkdir src && echo 'fn main() {}' > src/main.rs && cargo build --release && rm -rf src\n";
    let with = |lines: &str| stage(&format!("{STUB}{lines}"));
    let wrong = [
        with("COPY . .\nRUN cargo build --release"),
        with("COPY src src\nRUN cargo build --release --bin shop"),
        with("COPY . .\nRUN rm -f target/release/shop && cargo build --release"),
        // Crates have underscores.
        with("COPY . .\nRUN rm -f target/release/deps/shop-server* && cargo build --release"),
        // What is copied later is still too old.
        with("RUN touch src/main.rs\nCOPY . .\nRUN cargo build --release"),
        with("RUN --mount=type=bind,source=src,target=src cargo build --release"),
        with("COPY . .\nRUN cargo install --path ."),
        // One of two stubs.
        stage(
            "COPY Cargo.toml ./\nRUN cargo init && echo > src/lib.rs && cargo build -r\nCOPY . .\nRUN touch src/main.rs && cargo build -r",
        ),
        stage("COPY Cargo.toml ./\nRUN cargo new --bin . && cargo build -r\nCOPY . .\nRUN cargo build -r"),
        // In a stage that is based on the one with the stub.
        with("FROM build AS app\nCOPY . .\nRUN cargo build --release"),
    ];
    let right = [
        with("COPY . .\nRUN touch src/main.rs && cargo build --release"),
        with("COPY . .\nRUN touch src/*.rs && cargo build --release"),
        with("COPY . .\nRUN find . -name '*.rs' -exec touch {} + && cargo build --release"),
        with("COPY . .\nRUN rm -f target/release/deps/shop_server* && cargo build --release"),
        with("COPY . .\nRUN rm -rf target/release/.fingerprint/shop-* && cargo build --release"),
        with("COPY . .\nRUN rm -rf target && cargo build --release"),
        with("COPY . .\nRUN cargo clean -p shop && cargo build --release"),
        with("COPY . .\nRUN cargo build"),
        with("COPY . .\nRUN cargo build --release --target x86_64-unknown-linux-musl"),
        with("COPY . .\nRUN --mount=type=cache,target=/app/target cargo build --release"),
        with(""),
        stage(
            "COPY Cargo.toml ./\nRUN mkdir src && touch src/main.rs && cargo fetch\nCOPY . .\nRUN cargo build --release",
        ),
        stage("COPY . .\nRUN cargo build --release && cargo build --release"),
        // Loops make up names, patterns touch them.
        stage(
            "COPY Cargo.toml ./\nRUN for d in a b; do echo > $d/lib.rs; done && cargo build -r\nCOPY . .\nRUN touch */lib.rs && cargo build -r",
        ),
    ];
    table("stub-may-ship", &borrowed(&wrong), &borrowed(&right));
}

#[test]
fn hidden_errors() {
    stages(
        "errors-hidden",
        &[
            "RUN cargo build || true",
            "RUN cargo build --release && strip x || :",
            "RUN cargo build; rm -rf src",
            "RUN cargo build 2>&1 | tee log",
            "RUN <<END\ncargo build\ncp a b\nEND",
            "RUN sh -c 'cargo build; true'",
            "RUN cargo build || echo failed",
            "RUN cargo chef cook || exit 0",
        ],
        &[
            "RUN cargo build && rm -rf src",
            "RUN set -e; cargo build; rm -rf src",
            "SHELL [\"/bin/bash\", \"-eo\", \"pipefail\", \"-c\"]\nRUN cargo build | tee log; true",
            "RUN set -euxo pipefail; cargo build | tee log",
            "RUN <<END\nset -ex\ncargo build\ncp a b\nEND",
            "RUN <<END\n#!/bin/sh -e\ncargo build\ncp a b\nEND",
            "RUN cargo build || exit 1",
            "RUN cargo build || { echo failed; exit 1; }",
            "RUN cargo build || cargo build -v",
            "RUN cargo test || true",
            "RUN rm -rf x; cargo build",
            "RUN which ld.lld || true; cargo build",
            "RUN [\"cargo\", \"build\"]",
        ],
    );
}

#[test]
fn places_of_programs() {
    const CACHE: &str = "--mount=type=cache,id=x,sharing=locked,target=";
    let with = |run: &str, then: &str| {
        stage(&format!("COPY . .\nRUN {run}\nFROM debian:bookworm\n{then}")).leak() as &str
    };
    let copy = "COPY --from=build /app/target/release/shop /";
    table(
        "binary-in-cache-mount",
        &[
            with(&format!("{CACHE}/app/target cargo build -r"), copy),
            with(&format!("{CACHE}target cargo build -r"), copy),
            with(&format!("{CACHE}/app/target cargo build -r\nRUN cp target/release/shop /shop"), ""),
            with(
                &format!("{CACHE}/app/target cargo build -r\nENTRYPOINT [\"/app/target/release/shop\"]"),
                "",
            ),
            with(
                &format!("{CACHE}/out CARGO_TARGET_DIR=/out cargo build -r"),
                "COPY --from=0 /out/release/shop /",
            ),
        ],
        &[
            with("cargo build -r", copy),
            with(
                &format!("{CACHE}/app/target cargo build -r && cp target/release/shop /shop"),
                "COPY --from=build /shop /",
            ),
            with(
                &format!(
                    "{CACHE}/app/target cargo build -r\nRUN {CACHE}/app/target cp target/release/shop /shop"
                ),
                "",
            ),
            with(&format!("{CACHE}/app/target cargo build -r\nRUN cargo build -r"), copy),
            with(&format!("{CACHE}/usr/local/cargo/registry cargo build -r"), copy),
            with(
                &format!("{CACHE}/app/target cargo build -r"),
                "COPY --from=other /app/target/release/shop /",
            ),
        ],
    );
    table(
        "binary-elsewhere",
        &[
            with("cargo build", copy),
            with("cargo build -r --target x86_64-unknown-linux-musl", copy),
            with("cargo build -r --target-dir /out", copy),
            with("cargo build --profile dist", copy),
            with("cargo build -r", "COPY --from=build /src/target/release/shop /"),
            with("cargo build && cp target/release/shop /", ""),
        ],
        &[
            with("cargo build -r", copy),
            with("cargo build --profile dist", "COPY --from=build /app/target/dist/shop /"),
            with("cargo build -r --target $T", copy),
            with("cargo build -r --target a --target b && cp target/b/release/shop /", ""),
            with("cargo build -r && cp target/release/shop /shop", "COPY --from=build /shop /"),
            with("cd server && cargo build -r && cd .. && cp server/target/release/shop /", ""),
            with("make", copy),
            with("cargo build -r", "COPY --from=build /app/target/release /all"),
            with("cargo build -r", "COPY --from=build /app/target/*/shop /"),
            with("cargo build -r", "COPY --from=build /app/static/release/notes /"),
        ],
    );
    table(
        "no-such-binary",
        &[with("cargo build -r", "COPY --from=build /app/target/release/shop-server /")],
        &[
            with("cargo build -r", copy),
            with("cargo build -r", "COPY --from=build /app/target/release/libcore.so /"),
            with("cargo build -r", "COPY --from=build /app/target/release/examples/usage /"),
            with("cargo build -r", "COPY --from=build /app/target/release/$BIN /"),
            with("cargo build -r", "COPY --from=build /app/target/release /"),
        ],
    );
    table(
        "debug-build-ships",
        &[with("cargo build", "COPY --from=build /app/target/debug/shop /")],
        &[
            with("cargo build -r", copy),
            with("cargo install --path .", copy),
            with("cargo build && cargo build -r", copy),
        ],
    );
}

#[test]
fn members() {
    stages(
        "missing-member",
        &[
            "COPY Cargo.toml Cargo.lock ./\nCOPY server/Cargo.toml server/\nRUN cargo build --locked",
            "COPY Cargo.* ./\nRUN cargo fetch",
            "RUN --mount=type=bind,source=Cargo.toml,target=Cargo.toml cargo build",
        ],
        &[
            "COPY . .\nRUN cargo build",
            "COPY Cargo.toml ./\nCOPY */Cargo.toml ./\nRUN cargo build",
            "COPY --parents **/Cargo.toml ./\nRUN cargo build",
            "COPY Cargo.toml ./\nCOPY core core\nCOPY server server\nRUN cargo build",
            "COPY Cargo.toml ./\nRUN sed -i '/core/d' Cargo.toml && cargo build",
            "COPY Cargo.toml ./\nRUN cargo new core && cargo new server && cargo build",
            "COPY server/ ./\nRUN cargo build",
            "COPY recipe.json .\nRUN cargo chef cook",
            "RUN cargo install cargo-chef --locked",
        ],
    );
    stages(
        "member-gone",
        &["COPY crates/core/Cargo.toml x/"],
        &[
            "COPY core/Cargo.toml x/",
            "COPY crates/*/Cargo.toml x/",
            "COPY --from=other a/Cargo.toml x/",
            "COPY $D/Cargo.toml x/",
        ],
    );
    stages(
        "copy-per-member",
        &["COPY core/Cargo.toml core/\nCOPY server/Cargo.toml server/"],
        &[
            "COPY core/Cargo.toml core/",
            "COPY --parents core/Cargo.toml ./\nCOPY --parents server/Cargo.toml ./",
            "COPY . .",
        ],
    );
    let mut patched = shop();
    patched.outside.insert("vendor/serde".to_owned());
    let cook = stage("COPY recipe.json .\nRUN cargo chef cook");
    assert_eq!(marked("missing-member", &cook, Some(patched.clone())), ["cook"]);
    let copied = stage("COPY vendor vendor\nCOPY recipe.json .\nRUN cargo chef cook");
    assert!(marked("missing-member", &copied, Some(patched)).is_empty());
    assert!(marked("missing-member", &stage("COPY Cargo.toml .\nRUN cargo build"), None).is_empty());
}

#[test]
fn dependency_layers() {
    const CACHE: &str = "--mount=type=cache,target=/app/target";
    stages(
        "no-dependency-layer",
        &["COPY . .\nRUN cargo build", "COPY src src\nCOPY Cargo.toml .\nRUN cargo install --path ."],
        &[
            &format!("COPY . .\nRUN {CACHE} cargo build"),
            "COPY recipe.json .\nRUN cargo chef cook\nCOPY . .\nRUN cargo build",
            "COPY . .\nENV RUSTC_WRAPPER=sccache\nRUN cargo build",
            "COPY . .\nRUN RUSTC_WRAPPER=sccache cargo build",
            "COPY . .\nRUN cargo test",
            "RUN git clone https://example.org/x . && cargo build",
            "RUN cargo install --locked ripgrep",
            "COPY . .\nCOPY --from=cacher /app/target target\nRUN cargo build",
        ],
    );
    stages(
        "dependencies-rebuilt-by-any-manifest-change",
        &[
            "COPY Cargo.toml .\nRUN touch src/lib.rs && cargo build",
            "COPY recipe.json .\nRUN cargo chef cook",
        ],
        &[
            &format!("COPY recipe.json .\nRUN {CACHE} cargo chef cook"),
            "COPY . .\nRUN cargo build",
            "COPY . .\nRUN cargo chef prepare",
        ],
    );
    stages(
        "dependency-layer-unused",
        &[
            "RUN cargo chef cook\nCOPY . .\nRUN cargo build -r",
            "RUN cargo chef cook -r\nCOPY . .\nRUN cargo build -r --target x",
        ],
        &[
            "RUN cargo chef cook -r\nCOPY . .\nRUN cargo build -r",
            "RUN cargo chef cook -r --target x\nCOPY . .\nRUN cargo build -r --target x",
            "RUN cargo chef cook",
            "RUN cargo chef cook -r\nCOPY . .\nRUN cargo test\nRUN cargo build -r",
        ],
    );
}

#[test]
fn cache_mounts() {
    let run = |mount: &str| format!("COPY . .\nRUN --mount=type=cache,{mount} cargo build -r").leak() as &str;
    stages(
        "unlocked-cache-mount",
        &[run("target=/app/target"), run("target=/app/target,sharing=shared"), run("dst=target")],
        &[
            run("target=/app/target,sharing=locked"),
            run("target=/app/target,sharing=private"),
            run("target=/usr/local/cargo/registry"),
        ],
    );
    stages(
        "cache-mount-shared-by-projects",
        &[run("target=/app/target")],
        &[run("target=/app/target,id=x"), run("target=/usr/local/cargo/registry")],
    );
    stages(
        "cargo-home-mount-at-wrong-place",
        &[
            run("target=/root/.cargo/registry"),
            run("target=~/.cargo/git"),
            run("target=/home/app/.cargo/registry/"),
        ],
        &[
            run("target=/usr/local/cargo/registry"),
            run("target=$CARGO_HOME/registry"),
            "ENV CARGO_HOME=/root/.cargo\nRUN --mount=type=cache,target=/root/.cargo/registry cargo build",
            run("target=/var/cache/apt"),
        ],
    );
    stages(
        "cargo-home-hidden",
        &[run("target=/usr/local/cargo"), run("target=/usr/local/cargo/bin")],
        &[
            run("target=/usr/local/cargo/registry"),
            "RUN --mount=type=cache,target=/usr/local/cargo,from=build true",
        ],
    );
    stages(
        "target-mount-at-wrong-place",
        &[
            run("target=/src/target"),
            "ENV CARGO_TARGET_DIR=/out\nRUN --mount=type=cache,target=/app/target cargo build",
        ],
        &[
            run("target=/app/target"),
            run("target=target"),
            run("target=/app/target/release/build"),
            run("target=/root/.cache"),
        ],
    );
}

#[test]
fn runtimes() {
    let to = |builder: &str, build: &str, runtime: &str| {
        format!("FROM {builder} AS build\nWORKDIR /app\nCOPY . .\nRUN {build}\nFROM {runtime}\nCOPY --from=build /app/target/release/shop /usr/bin/\n").leak()
            as &str
    };
    let build = "cargo build -r";
    table(
        "runtime-glibc-older",
        &[
            to("rust:1.95", build, "debian:bookworm-slim"),
            to("rust:1.95-trixie", build, "gcr.io/distroless/cc-debian12"),
            to("rust:1.80-bookworm", build, "ubuntu:20.04"),
        ],
        &[
            to("rust:1.95-bookworm", build, "debian:bookworm-slim"),
            to("rust:1.95-bookworm", build, "debian:trixie-slim"),
            to("rust:1.95-bookworm", build, "ubuntu:24.04"),
            to("rust:1.95", build, "debian:stable-slim"),
            to("rust:1.95", build, "example.org/base:1"),
            to("rust:1.95", "cargo build -r --target x86_64-unknown-linux-musl", "debian:bookworm-slim"),
            to("rust:1.95-alpine", build, "debian:bookworm-slim"),
            to("rust:1.95", "make", "debian:bookworm-slim"),
        ],
    );
    table(
        "runtime-lacks-glibc",
        &[
            to("rust:1.95", build, "alpine:3.22"),
            to("rust:1.95", build, "scratch"),
            to("rust:1.95", build, "gcr.io/distroless/static"),
        ],
        &[
            to("rust:1.95-alpine", build, "scratch"),
            to("rust:1.95", "cargo build -r --target x86_64-unknown-linux-musl", "scratch"),
            to("rust:1.95", "RUSTFLAGS='-C target-feature=+crt-static' cargo build -r", "scratch"),
            to("rust:1.95", build, "alpine:3.22\nRUN apk add gcompat"),
            to("rust:1.95", build, "scratch\nCOPY --from=build /lib64/ld-linux-x86-64.so.2 /lib64/"),
            to("rust:1.95", build, "frolvlad/alpine-glibc"),
        ],
    );
    let ends = |runtime: &str| {
        format!("{}CMD [\"shop\"]\n", to("rust:1.95-bookworm", build, runtime)).leak() as &str
    };
    table(
        "runs-as-root",
        &[
            ends("debian:trixie"),
            ends("debian:trixie\nUSER 1\nUSER root"),
            ends("gcr.io/distroless/cc-debian12"),
        ],
        &[
            ends("debian:trixie\nUSER 1000"),
            ends("debian:trixie\nUSER $APP_USER"),
            ends("gcr.io/distroless/cc-debian12:nonroot"),
            ends("example.org/base"),
            ends("debian:trixie\nRUN apt-get install gosu"),
            to("rust:1.95-bookworm", build, "debian:trixie"),
            "FROM rust:1.95\nWORKDIR /app\nCMD [\"cargo\", \"watch\"]\n",
            "FROM debian\nCMD [\"bash\"]\n",
        ],
    );
    table(
        "ships-toolchain",
        &["FROM rust:1.95\nCOPY . .\nRUN cargo build -r\nCMD [\"./target/release/shop\"]\n"],
        &[
            ends("debian:trixie"),
            "FROM rust:1.95\nCOPY . .\nRUN cargo build\nCMD [\"cargo\", \"run\"]\n",
            "FROM rust:1.95\nRUN cargo build\n",
        ],
    );
    let mut speaks_tls = shop();
    speaks_tls.locked = Some(BTreeSet::from(["native-tls".to_owned()]));
    for (runtime, found) in [
        ("debian:trixie", 1),
        ("scratch", 1),
        ("debian:trixie\nRUN apt-get install -y --no-install-recommends curl", 1),
        ("debian:trixie\nRUN apt-get install -y ca-certificates", 0),
        ("debian:trixie\nRUN apt-get install -y curl", 0),
        ("debian:trixie\nRUN apt-get install -y $PACKAGES", 0),
        ("debian:trixie\nCOPY --from=build /etc/ssl/certs /etc/ssl/certs", 0),
        ("gcr.io/distroless/cc-debian12", 0),
        ("alpine:3", 0),
    ] {
        let text = to("rust:1.95-bookworm", build, runtime);
        assert_eq!(marked("no-ca-certificates", text, Some(speaks_tls.clone())).len(), found, "{runtime}");
    }
}

#[test]
fn pins() {
    let from = |image: &str| format!("FROM {image}\nRUN true\n").leak() as &str;
    table(
        "unpinned-rust",
        &[
            from("rust"),
            from("rust:latest"),
            from("rust:1"),
            from("rust:1-slim"),
            from("rust:alpine"),
            from("rustlang/rust:nightly"),
            "ARG V=latest\nFROM rust:$V\n",
        ],
        &[
            from("rust:1.95"),
            from("rust:1.95.0-slim"),
            from("rust@sha256:1"),
            "ARG V=1.95\nFROM rust:$V\n",
            "ARG V\nFROM rust:$V\n",
            from("lukemathwalker/cargo-chef:latest-rust-1.95"),
        ],
    );
    table(
        "toolchain-differs",
        &[from("rust:1.90"), from("rust:1.95.1").replace("1.95.1", "1.94.1").leak()],
        &[from("rust:1.95"), from("rust:1.95.0-slim"), from("rust")],
    );
    stages(
        "not-locked",
        &[
            "RUN cargo build",
            "RUN cargo install --path .",
            "RUN cargo install cargo-chef",
            "RUN cargo test",
            "RUN cd x && cargo +1.95 --color never b -r",
        ],
        &[
            "RUN cargo build --locked",
            "RUN cargo build --frozen",
            "RUN cargo fmt --check",
            "RUN cargo chef cook",
            "RUN cargo --version",
            "RUN echo cargo build",
        ],
    );
    let mut no_lock = shop();
    no_lock.locked = None;
    assert!(marked("not-locked", &stage("RUN cargo build"), Some(no_lock)).is_empty());
}

#[test]
fn secrets() {
    stages(
        "secret-in-arg",
        &[
            "ARG CARGO_REGISTRIES_SHOP_TOKEN",
            "ENV DATABASE_URL=postgres://shop:hunter2@db/shop",
            "ARG SSH_PRIVATE_KEY",
            "COPY .cargo/credentials.toml /root/.cargo/",
            "COPY id_rsa /root/.ssh/",
        ],
        &[
            "ARG TOKEN_FILE=/run/secrets/token",
            "ENV DATABASE_URL=sqlite:/data/shop.db",
            "ENV DATABASE_URL=postgres://shop:$PASSWORD_FROM@db/shop",
            "ARG PUBLIC_KEY=abc",
            "ARG TOKENIZER=x",
            "ENV CACHE_KEY=1",
            "RUN --mount=type=secret,id=token,env=TOKEN true",
        ],
    );
}

#[test]
fn nothing_is_said_without_rust() {
    let node = "FROM node:latest\nCOPY . .\nARG NPM_TOKEN\nRUN npm ci || true\nCMD [\"node\", \"x\"]\n";
    assert!(check(&parse(&source(node)).unwrap(), &surroundings(None)).is_empty());
}
