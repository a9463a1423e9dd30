#!/usr/bin/env bash
# Puts verifier, as it lies in this action, and its libraries, by their hashes, into a Python of their own.
set -euo pipefail
place="${RUNNER_TEMP:?}/helm-verifier"
if [ ! -x "$place/bin/verifier" ]; then
  "${VERIFIER_ACTION_PYTHON:-python3}" -m venv "$place"
  "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r "$VERIFIER_ACTION/.github/requirements.txt"
  "$place/bin/python" - "$VERIFIER_ACTION" <<'PYTHON'
import sys, sysconfig
with open(sysconfig.get_path("purelib") + "/helm_verifier_action.pth", "w", encoding="utf-8") as file:
    file.write(sys.argv[1] + "\n")
PYTHON
  printf '#!/bin/sh\nexec "%s/bin/python" -P -E -m verifier "$@"\n' "$place" > "$place/bin/verifier"
  chmod +x "$place/bin/verifier"
fi
"$place/bin/verifier" --version
