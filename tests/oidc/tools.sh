# Sourced by tests/run after the validators, whose Node it uses: installs the authorization server from npm into $OIDC_TOOLS, and says so.
# Expects: root (the repository), and VALIDATE_TOOLS, NODE and npm_install of tests/validate/tools.sh.

OIDC_TOOLS=$(dirname "$VALIDATE_TOOLS")/oidc
mkdir -p "$OIDC_TOOLS"

install_oidc() {
  say "installing from npm into $OIDC_TOOLS/node_modules: oidc-provider"
  rm -rf "$OIDC_TOOLS/node_modules"
  cp "$root/tests/oidc/package.json" "$OIDC_TOOLS/package.json"
  (VALIDATE_TOOLS=$OIDC_TOOLS npm_install install --silent --no-audit --no-fund --no-package-lock --engine-strict=false --ignore-scripts) >&2
  ln -sf "$NODE" "$OIDC_TOOLS/node"
  cp "$root/tests/oidc/package.json" "$OIDC_TOOLS/package.stamp"
}

stamped "$root/tests/oidc/package.json" "$OIDC_TOOLS/package.stamp" || install_oidc
