"""What the plugin's launcher starts: `python -m verifier.getter get CERT KEY CA URL`, or `plugin WORDS...`.

A getter's call goes to the resident process if there is one (`verifier helm resident`); anything else, and everything without one, is done here.
With VERIFIER_HELM_RESIDENT=true a call that finds none starts one for those that follow.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Never imports the command line before it is needed: that is most of a short command."""
    words = ["helm", *sys.argv[1:]]
    if words[1:2] == ["get"]:
        from verifier.net.warm import LOST, hand_over, socket_path, start

        status = hand_over(words, os.environ)
        if status is not None:
            if status == LOST:
                sys.stderr.write("verifier: nothing was handed over: it could not be told whether the chart is allowed\n")
            sys.exit(status)
        if os.environ.get("VERIFIER_HELM_RESIDENT") == "true" and socket_path(os.environ) is not None:
            start([sys.executable, "-P", "-E", "-m", "verifier", "helm", "resident"], os.environ)
    from verifier.cli.main import run

    sys.argv[1:] = words
    run()


if __name__ == "__main__":
    main()
