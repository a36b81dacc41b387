# The checks, one a recipe; `just check` is what `.ci/run` does.

# Everything that must be green before a change lands.
check: fmt clippy test doc

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

test:
    cargo test --workspace --locked

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Licences, sources and bans of the dependencies; needs cargo-deny.
deny:
    cargo deny check bans licenses sources
