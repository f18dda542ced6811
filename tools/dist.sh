#!/usr/bin/env bash
# Builds wheel and sdist, installs each into an environment of its own, and starts the demo from the wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
rm -rf dist
"$python" -m build --outdir dist .
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for file in dist/*.whl dist/*.tar.gz; do
  "$python" -m venv --clear "$work/venv"
  "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "gossipfl[demo,sims] @ file://$PWD/$file"
  (cd "$work" && venv/bin/gossipfl --version && venv/bin/gossipfl sim scenarios >/dev/null)
done
"$python" -m venv --clear "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "gossipfl[demo] @ file://$PWD/$(ls dist/*.whl)"
(cd "$work" && venv/bin/gossipfl demo --peers 3 --duration 20 --partition iid --json --out "$work/demo" | tail -1)
echo "dist/ is fit to be published"
