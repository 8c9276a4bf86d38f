# cargo-chef as its own README shows it. `chef` is the builder image with cargo-chef in it.
FROM carrack-bench/chef AS chef
WORKDIR /app

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
COPY --from=planner /app/recipe.json recipe.json
RUN cargo chef cook --release --locked --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim AS runtime
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home app && mkdir /data && chown app /data
WORKDIR /app
USER app

FROM runtime AS rustcare-server
COPY config /app/config
COPY migrations /app/migrations
COPY --from=builder /app/target/release/rustcare-server /usr/local/bin/
EXPOSE 8080
CMD ["rustcare-server"]

FROM runtime AS rustcare-sync
COPY config /app/config
COPY --from=builder /app/target/release/rustcare-sync /usr/local/bin/
CMD ["rustcare-sync"]

FROM runtime AS ops-cli
COPY migrations /app/migrations
COPY --from=builder /app/target/release/ops-cli /usr/local/bin/
CMD ["ops-cli"]
