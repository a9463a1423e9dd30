"""Write the generated pages: codes.md, troubleshooting.md, policy-reference.md, admission-kinds.md and the schemas. With --check, say which are stale."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from verifier.model.codes import ALL, Family
from verifier.model.mistakes import MISTAKES
from verifier.operations.webhooks import registrations
from verifier.policy.expression import VOCABULARY, Scope
from verifier.policy.schema import objects, policy_schema
from verifier.report.schema import decision_schema
from verifier.workloads.kinds import READERS

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


def troubleshooting_page() -> str:
    """A heading for each mistake that everybody makes once."""
    lines = [
        "# Troubleshooting",
        "",
        "What goes wrong with registries, how it looks, and what to do. The advice is what verifier prints itself;",
        "`verifier registry check HOST/PATH/NAME` says what a registry can do and who you are there, and `--debug`, which every command has,",
        "shows each request with its secrets masked, those of others' libraries too (a CA, a log, a KMS).",
        "Everything else is in [codes](codes.md). This page is generated from `verifier/model/mistakes.py`.",
        "",
    ]
    for mistake in MISTAKES:
        names = ", ".join(f"`{code.name}`" for code in mistake.codes)
        where, words = mistake.example
        lines += [
            f"## {mistake.title}",
            "",
            "```",
            f"verifier: {where}: {words} [{mistake.codes[0].name}]",
            "```",
            "",
            mistake.why,
            "",
            f"**Next:** {mistake.advice} ({names})",
            "",
        ]
    return "\n".join(lines)


def _form(schema: dict[str, Any]) -> str:
    """A value's form in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"a [{name}](#{name})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`".replace('"', "")
    if "enum" in schema:
        return ", ".join(f"`{item}`" for item in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema and "properties" not in schema:
            return " or ".join(dict.fromkeys(_form(item) for item in schema[key]))
    match schema.get("type"):
        case "array":
            return f"list of {_form(schema['items'])}"
        case "object" if schema.get("properties"):
            return "fields below"
        case "object":
            return "a mapping"
        case "string" if schema.get("format") == "date-time":
            return "a time (RFC 3339)"
        case "string" if "pattern" in schema:
            return f"text like `{schema['pattern']}`".replace("|", "\\|")
        case "string":
            return "text"
        case kind:
            return str(kind)


def _table(place: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from [f"### {place}", "", "| field | value | needed | meaning |", "|---|---|---|---|"]
    for field, inner in schema["properties"].items():
        needed = "yes" if field in schema.get("required", ()) else ""
        yield f"| `{field}` | {_form(inner)} | {needed} | {inner['description']} |"
    yield ""


def reference_page() -> str:
    """Every field of a policy, and every name of an expression."""
    schema = policy_schema()
    lines = ["# Policy reference", "", "Every field, generated from the schema. What they mean together stands in [policy](policy.md).", ""]
    merged: dict[str, dict[str, Any]] = {}
    for place, inner in objects(schema):  # a trust name holds one of several kinds: one table for all of them
        known = merged.setdefault(place, {"properties": {}, "required": inner.get("required", ())})
        known["required"] = set(known["required"]) & set(inner.get("required", ()))
        known["properties"].update(inner["properties"])
    lines += [line for place, inner in merged.items() if not place.endswith(".claims") for line in _table(place, inner)]
    lines += ["## Expressions", "", "| name | type | where | what it is |", "|---|---|---|---|"]
    seen: set[str] = set()
    for scope, where in ((Scope.CHART, "everywhere"), (Scope.SIGNATURE, "in `signed` and `attested`"), (Scope.PREDICATE, "in `attested`")):
        for name, (kind, what) in VOCABULARY[scope].items():
            if name not in seen:
                lines.append(f"| `{name}` | {kind} | {where} | {what} |")
                seen.add(name)
    return "\n".join([*lines, ""])


def kinds_page() -> str:
    """A row for each kind of object that names charts."""
    pin = "`pin` says where a digest is written so that the controller obeys it"
    head = f"Generated from `verifier/workloads/`. {pin}; what has no such place is denied unless the rule says `unsafe_allow_unpinned`."
    lines = ["# Kinds that admission reads", "", head, "", "| group | kind | versions | checked | pin |", "|---|---|---|---|---|"]
    lines += [f"| `{item.group}` | {item.kind} | {', '.join(item.versions)} | {item.checked} | {item.pin} |" for item in READERS]
    record = "every file byte for byte, Chart.yaml and the chart's own values, against the policy's `sources`"
    lines.append(f"| core | Secret, ConfigMap that are Helm's release records | v1 | {record} | no: a record names no origin |")
    return "\n".join([*lines, "", "What these mean together stands in [admission](admission.md).", ""])


def pages() -> dict[str, str]:
    """File name -> content."""
    return {
        "codes.md": codes_page(),
        "troubleshooting.md": troubleshooting_page(),
        "policy-reference.md": reference_page(),
        "admission-kinds.md": kinds_page(),
        "../verifier/deploy/helm-verifier/files/webhooks.json": json.dumps(registrations(), indent=1) + "\n",
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
