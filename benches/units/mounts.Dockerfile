# A cache mount for the target folder. `carrack-bench/units` is the builder image with all crates in it, so the registry needs
# no mount of its own here.
FROM carrack-bench/units AS builder
WORKDIR /app
COPY . .
ARG SERVICE
RUN --mount=type=cache,target=/app/target \
    cargo build --release --locked && \
    cp target/release/$SERVICE /usr/local/bin/

FROM debian:bookworm-slim
ARG SERVICE
COPY --from=builder /usr/local/bin/$SERVICE /usr/local/bin/
