"""Write the generated pages: codes.md, decision.schema.json, policy.schema.json. With --check, say which are stale."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from verifier.model.codes import ALL, Family
from verifier.policy.schema import policy_schema
from verifier.report.schema import decision_schema

HERE = Path(__file__).parent
INTRODUCTION = {
    Family.MISUSE: "The question makes no sense: exit code 2, HTTP 422. Nothing was judged.",
    Family.FAILED: "What was shown is bad: denied, exit code 1, HTTP 403.",
    Family.INCONCLUSIVE: "It could not be told: exit code 3, HTTP 503. Never treated as unsigned.",
}


def codes_page() -> str:
    """A heading for each code, by family."""
    lines = [
        "# Codes",
        "",
        "Every error, and every decision that is no allow, carries a stable code. This page is generated from `verifier/model/codes.py`.",
        "",
    ]
    for family in Family:
        lines += [f"# {family.value.capitalize()}", "", INTRODUCTION[family], ""]
        for code in ALL.values():
            if code.family is family:
                lines += [f"## {code.name}", "", code.advice, ""]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """File name -> content."""
    return {
        "codes.md": codes_page(),
        "decision.schema.json": json.dumps(decision_schema(), indent=2) + "\n",
        "policy.schema.json": json.dumps(policy_schema(), indent=2) + "\n",
    }


def main(check: bool) -> int:
    """Write, or compare."""
    stale = [name for name, content in pages().items() if not (HERE / name).is_file() or (HERE / name).read_text("utf-8") != content]
    for name in stale:
        if check:
            print(f"docs/{name} is stale: run make docs")
        else:
            (HERE / name).write_text(pages()[name], "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
