#!/usr/bin/env bash
# Measures what the SDKs add to bare calls, in CPU time. `make sdk-bench` calls it; `make interop` installs what it runs with.
# UNDOUBT_BIN is the folder of the program `undoubt`.
set -euo pipefail
cd "$(dirname "$0")"

tools="${CARGO_TARGET_DIR:-$HOME/.cache/undoubt/target}/sdk-python/bin"
if [ ! -x "$tools/python" ] || [ ! -d typescript/node_modules ]; then
    echo "the SDKs' tools are not installed; run \`make interop\` first" >&2
    exit 1
fi
(cd python && PATH="$tools:$PATH" python benches/overhead.py)
(cd typescript && npm run --silent overhead)
