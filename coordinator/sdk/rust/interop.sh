#!/usr/bin/env bash
# Checks and tests the barrier for Rust. `make interop` calls it; UNDOUBT_BIN is the folder of the program `undoubt`.
set -euo pipefail
cd "$(dirname "$0")"

if [ ! -x "${UNDOUBT_BIN:-}/undoubt" ]; then
    echo "UNDOUBT_BIN has to name the folder with the program undoubt, and it is \"${UNDOUBT_BIN:-}\"; \`make build\` makes it" >&2
    exit 1
fi

# Beside the workspace's: nothing here is compiled as it is there.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/undoubt/target}/sdk-rust"

cargo fmt --check
cargo clippy --quiet --locked --all-features --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --all-features --no-deps
# Each driver alone, as most services have it, and none.
for features in "" tokio-postgres sqlx-postgres sqlx-mysql sqlx-sqlite axum; do
    cargo clippy --quiet --locked --lib --features "$features" -- -D warnings
done
cargo test --quiet --locked --all-features
