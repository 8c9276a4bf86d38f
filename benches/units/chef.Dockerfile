# cargo-chef as its own README shows it, with a layer cache. `carrack-bench/units` is the builder image with cargo-chef and all
# crates in it.
FROM carrack-bench/units AS chef
WORKDIR /app

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
COPY --from=planner /app/recipe.json recipe.json
RUN cargo chef cook --release --locked --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
ARG SERVICE
COPY --from=builder /app/target/release/$SERVICE /usr/local/bin/
