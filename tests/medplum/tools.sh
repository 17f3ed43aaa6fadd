# Sourced by tests/run after the validators, whose Node it uses: installs the router of another FHIR server from npm into $MEDPLUM_TOOLS, and says so.
# Expects: root (the repository), and VALIDATE_TOOLS, NODE and npm_install of tests/validate/tools.sh.

MEDPLUM_TOOLS=$(dirname "$VALIDATE_TOOLS")/medplum
mkdir -p "$MEDPLUM_TOOLS"

install_medplum() {
  say "installing from npm into $MEDPLUM_TOOLS/node_modules: @medplum/fhir-router and what it needs"
  rm -rf "$MEDPLUM_TOOLS/node_modules"
  cp "$root/tests/medplum/package.json" "$MEDPLUM_TOOLS/package.json"
  (VALIDATE_TOOLS=$MEDPLUM_TOOLS npm_install install --silent --no-audit --no-fund --no-package-lock --engine-strict=false --ignore-scripts) >&2
  ln -sf "$NODE" "$MEDPLUM_TOOLS/node"
  cp "$root/tests/medplum/package.json" "$MEDPLUM_TOOLS/package.stamp"
}

stamped "$root/tests/medplum/package.json" "$MEDPLUM_TOOLS/package.stamp" || install_medplum
