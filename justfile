# What every day needs. CI runs the same commands (.ci/run).

[private]
default:
    @just --list

# Every test of the repository, or those whose names contain a filter
test *filters:
    cargo xtask test {{filters}}

# Formatting, clippy, house rules, licences
lint:
    cargo xtask lint

# Format the sources
fmt:
    cargo fmt --all
    cargo fmt --all --manifest-path examples/rustcare/Cargo.toml

# Measure against bare cargo and docker
bench *arguments:
    cargo xtask bench {{arguments}}

# All of them
check: fmt lint test bench
