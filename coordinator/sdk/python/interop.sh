#!/usr/bin/env bash
# Checks and tests the SDK for Python, and builds its package. `make interop` calls it; UNDOUBT_BIN is the folder of the program `undoubt`.
set -euo pipefail
cd "$(dirname "$0")"

if [ ! -x "${UNDOUBT_BIN:-}/undoubt" ]; then
    echo "UNDOUBT_BIN has to name the folder with the program undoubt, and it is \"${UNDOUBT_BIN:-}\"; \`make build\` makes it" >&2
    exit 1
fi

# Outside of the checkout, made anew where what the package needs has changed.
place="${CARGO_TARGET_DIR:-$HOME/.cache/undoubt/target}/sdk-python"
if [ ! pyproject.toml -ot "$place/ready" ] || ! "$place/bin/python" -c "import undoubt, sys; sys.exit(undoubt.__file__ != '$PWD/src/undoubt/__init__.py')" 2>/dev/null; then
    [ -x "$place/bin/python" ] || python3 -m venv "$place"
    "$place/bin/pip" install --quiet --disable-pip-version-check --editable '.[dev]'
    touch "$place/ready"
fi
export PATH="$place/bin:$PATH"
python --version

ruff check .
ruff format --check .
mypy
python -m pytest -q

# The package that one would publish has all that it needs, and works without the checkout.
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
python -m build --quiet --outdir "$built" .
python -m venv "$built/venv"
"$built/venv/bin/pip" install --quiet --disable-pip-version-check "$built"/undoubt-*.whl
(cd "$built" && "$built/venv/bin/python" -c '
import sqlite3
from importlib import resources
import undoubt
from undoubt.barrier import barrier, create_table
connection = sqlite3.connect(":memory:")
create_table(connection)
asked = {"undoubt-effect": "E", "undoubt-operation": "action"}
assert barrier(connection, asked, lambda call: 1).body == barrier(connection, asked, lambda call: 2).body == b"1"
assert resources.files(undoubt).joinpath("py.typed").is_file()
')

# So has its extra for participants, types of the protocol included.
"$built/venv/bin/pip" install --quiet --disable-pip-version-check "$(echo "$built"/undoubt-*.whl)[session]"
(cd "$built" && "$built/venv/bin/python" -c '
import undoubt
from undoubt.session import SqliteStore, session_pb2
store = SqliteStore("store.db")
store.open("participant")
store.close()
assert session_pb2.Hello(epoch=1).SerializeToString()
')
