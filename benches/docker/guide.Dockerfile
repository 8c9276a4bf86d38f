# The form that guides teach and teams write by hand: cache mounts, one COPY for each manifest, stubs for the dependency
# layer, every source touched so that cargo does not take the stubs for the code. Measured against, not recommended.
FROM rust:1.95-slim-bookworm AS builder
WORKDIR /app
COPY Cargo.toml Cargo.lock ./
COPY crates/rustcare-api-types/Cargo.toml crates/rustcare-api-types/
COPY crates/rustcare-codes/Cargo.toml crates/rustcare-codes/
COPY crates/rustcare-config/Cargo.toml crates/rustcare-config/
COPY crates/rustcare-core/Cargo.toml crates/rustcare-core/
COPY crates/rustcare-macros/Cargo.toml crates/rustcare-macros/
COPY crates/rustcare-storage/Cargo.toml crates/rustcare-storage/
COPY crates/rustcare-telemetry/Cargo.toml crates/rustcare-telemetry/
COPY ops-cli/Cargo.toml ops-cli/
COPY server/Cargo.toml server/
COPY sync/Cargo.toml sync/
RUN for crate in crates/* server; do mkdir -p $crate/src && touch $crate/src/lib.rs; done && \
    for crate in ops-cli server sync; do mkdir -p $crate/src && echo 'fn main() {}' > $crate/src/main.rs; done && \
    echo 'fn main() {}' > crates/rustcare-codes/build.rs
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/app/target \
    cargo build --release --locked
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/app/target \
    find . -path ./target -prune -o -name '*.rs' -exec touch {} + && \
    cargo build --release --locked && \
    cp target/release/ops-cli target/release/rustcare-server target/release/rustcare-sync /usr/local/bin/

FROM debian:bookworm-slim AS runtime
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home app && mkdir /data && chown app /data
WORKDIR /app
USER app

FROM runtime AS rustcare-server
COPY config /app/config
COPY migrations /app/migrations
COPY --from=builder /usr/local/bin/rustcare-server /usr/local/bin/
EXPOSE 8080
CMD ["rustcare-server"]

FROM runtime AS rustcare-sync
COPY config /app/config
COPY --from=builder /usr/local/bin/rustcare-sync /usr/local/bin/
CMD ["rustcare-sync"]

FROM runtime AS ops-cli
COPY migrations /app/migrations
COPY --from=builder /usr/local/bin/ops-cli /usr/local/bin/
CMD ["ops-cli"]
