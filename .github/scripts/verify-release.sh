#!/usr/bin/env bash
# Verifies the files of a release: verify-release.sh DIRECTORY IDENTITY. See docs/verify-our-release.md.
set -euo pipefail
dist="$1"
identity="$2"
bin="${VERIFIER_BIN:-.venv/bin}"
root=()
[ -n "${VERIFIER_TRUSTED_ROOT:-}" ] && root=(--trusted-root "$VERIFIER_TRUSTED_ROOT")
found=0
for file in "$dist"/*.whl "$dist"/*.tar.gz "$dist"/*.tgz; do
  [ -e "$file" ] || continue
  "$bin/verifier" verify-blob "$file" --bundle "$file.sigstore.json" "${root[@]}" \
    --certificate-identity "$identity" --certificate-oidc-issuer https://token.actions.githubusercontent.com
  found=$((found + 1))
done
[ "$found" -gt 0 ] || { echo "nothing to verify in $dist" >&2; exit 2; }
echo "$found files are signed by $identity"
