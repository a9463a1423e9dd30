#!/usr/bin/env bash
# One command of the action: inputs are variables INPUT_*, lists have one item a line.
set -euo pipefail
verifier="${RUNNER_TEMP:?}/helm-verifier/bin/verifier"

words=()
each() { # NAME OPTION: the option once for every line of a list
  local line
  while IFS= read -r line; do
    line="${line#"${line%%[![:space:]]*}"}"
    line="${line%"${line##*[![:space:]]}"}"
    [ -z "$line" ] && continue
    [ -n "$2" ] && words+=("$2")
    words+=("$line")
  done <<< "$1"
}
refuse() {
  echo "::error title=verifier action::$1"
  exit 2
}

case "${INPUT_COMMAND:-}" in
  release)
    [ -n "${INPUT_REGISTRY:-}" ] || refuse "registry is empty; expected oci://HOST/PATH"
    each "${INPUT_CHARTS:-.}" ""
    [ "${#words[@]}" -gt 0 ] || refuse "charts names no directory"
    words+=("$INPUT_REGISTRY")
    if [ -n "${INPUT_KEY:-}" ]; then
      words+=(--key "$INPUT_KEY")
    elif [ "${INPUT_KEYLESS:-true}" = true ]; then
      words+=(--keyless)
    fi
    [ -n "${INPUT_OPENPGP_KEY:-}" ] && words+=(--openpgp-key "$INPUT_OPENPGP_KEY")
    [ -n "${INPUT_REQUIRE_TAG:-}" ] && words+=(--require-tag "$INPUT_REQUIRE_TAG")
    [ -n "${INPUT_TRUST_CONFIG:-}" ] && words+=(--trust-config "$INPUT_TRUST_CONFIG")
    [ -n "${INPUT_POLICY:-}" ] && words+=(--policy "$INPUT_POLICY")
    each "${INPUT_SBOM:-}" --sbom
    each "${INPUT_ATTEST:-}" --attest
    exec "$verifier" release -o github "${words[@]}"
    ;;
  verify)
    each "${INPUT_REFERENCES:-}" ""
    each "${INPUT_FILES:-}" --file
    [ "${#words[@]}" -gt 0 ] || refuse "references and files are empty: nothing would be verified"
    [ -n "${INPUT_POLICY:-}" ] || [ -n "${VERIFIER_POLICY:-}" ] || refuse "policy is empty; nothing is trusted by itself"
    [ -n "${INPUT_POLICY:-}" ] && words+=(--policy "$INPUT_POLICY")
    if [ -n "${INPUT_SARIF:-}" ]; then
      "$verifier" verify -o sarif "${words[@]}" > "$INPUT_SARIF" || true # the answer is that of the next line
    fi
    exec "$verifier" verify -o github "${words[@]}"
    ;;
  *)
    refuse "command is '${INPUT_COMMAND:-}', expected release or verify"
    ;;
esac
