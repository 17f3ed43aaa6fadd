# Sourced by tests/run after the validators, whose Node it uses: installs axe-core from npm into $BROWSER_TOOLS, and says so. The browser itself
# is Debian's. Expects: root (the repository), and VALIDATE_TOOLS, NODE and npm_install of tests/validate/tools.sh.

BROWSER_TOOLS=$(dirname "$VALIDATE_TOOLS")/browser
mkdir -p "$BROWSER_TOOLS"

install_axe() {
  say "installing from npm into $BROWSER_TOOLS/node_modules: axe-core"
  rm -rf "$BROWSER_TOOLS/node_modules"
  cp "$root/tests/browser/package.json" "$BROWSER_TOOLS/package.json"
  (VALIDATE_TOOLS=$BROWSER_TOOLS npm_install install --silent --no-audit --no-fund --no-package-lock --ignore-scripts) >&2
  cp "$root/tests/browser/package.json" "$BROWSER_TOOLS/package.stamp"
}

stamped "$root/tests/browser/package.json" "$BROWSER_TOOLS/package.stamp" || install_axe
