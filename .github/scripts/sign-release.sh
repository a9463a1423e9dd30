#!/usr/bin/env bash
# Signs every file of a release for this workflow's identity; the plugin's archives with our GPG key as well, which Helm 4 asks for.
set -euo pipefail
dist="$1"
bin="${VERIFIER_BIN:-.venv/bin}"
if [ -n "${GPG_KEY:-}" ]; then
  "$bin/verifier" helm package-plugin -d "$dist" --openpgp-key env://GPG_KEY
fi
instance=()
[ -n "${VERIFIER_TRUST_CONFIG:-}" ] && instance=(--trust-config "$VERIFIER_TRUST_CONFIG")
for file in "$dist"/*.whl "$dist"/*.tar.gz "$dist"/*.tgz; do
  "$bin/python" -m sigstore "${instance[@]}" sign "$file"
done
(cd "$dist" && sha256sum -- *.whl *.tar.gz *.tgz > SHA256SUMS)
