#!/usr/bin/env bash
# Runs the trip over its three services and kills them. `make interop` calls it, behind the stages of the three SDKs, whose tools it uses.
set -euo pipefail
cd "$(dirname "$0")"
target="${CARGO_TARGET_DIR:-$HOME/.cache/undoubt/target}"
sdk=../../../coordinator/sdk

(cd "$sdk/rust" && CARGO_TARGET_DIR="$target/sdk-rust" cargo build --quiet --locked --features sqlx-mysql,axum --example cars)
(cd "$sdk/typescript" && npm run --silent build)
export CARS_PROGRAM="$target/sdk-rust/debug/examples/cars" PYTHONPATH="$sdk/python/tests"
export PATH="$target/sdk-python/bin:$PATH"
ruff check --config "$sdk/python/pyproject.toml" .
ruff format --check --config "$sdk/python/pyproject.toml" .
python -m pytest -q -p no:cacheprovider test_trip.py
