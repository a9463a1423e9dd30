"""What later steps of a pipeline read of a release: GITHUB_OUTPUT, a dotenv file, a job summary. Pure text.

Source: docs.github.com "Workflow commands", "Setting an output parameter"; docs.gitlab.com artifacts:reports:dotenv. A line break in a value would begin
another value, so one is refused; ours are names, versions, references and digests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from verifier.formats.json import dump_json

Result = Mapping[str, str]  # name, version, reference, digest, archive, state


def write_outputs(results: Sequence[Result]) -> str:
    """`digest`, `reference` and the like of a single chart, and `charts` as JSON of all."""
    lines = [f"{key}={_one_line(value)}" for key, value in results[0].items()] if len(results) == 1 else []
    return "\n".join([*lines, f"charts={dump_json([dict(result) for result in results]).decode()}", ""])


def write_dotenv(results: Sequence[Result]) -> str:
    """VERIFIER_DIGEST and the like of a single chart; VERIFIER_WEB_DIGEST and the like of each."""
    lines = []
    for result in results:
        name = "".join(character if character.isalnum() else "_" for character in result["name"]).upper()
        for prefix in ["VERIFIER", f"VERIFIER_{name}"] if len(results) == 1 else [f"VERIFIER_{name}"]:
            lines += [f"{prefix}_{key.upper()}={_one_line(value)}" for key, value in result.items()]
    return "\n".join([*lines, ""])


def write_summary(results: Sequence[Result], problems: Sequence[str]) -> str:
    """Markdown for a job's page."""
    rows = [f"| {_cell(item['name'])} | {_cell(item['version'])} | {_cell(item['state'])} | `{_cell(item['reference'])}` |" for item in results]
    table = ["| chart | version | | reference |", "|---|---|---|---|", *rows] if rows else []
    return "\n".join(["### Charts released by verifier", "", *table, *(f"- **not released**: {_cell(problem)}" for problem in problems), ""])


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError("a value of more than one line")
    return value


def _cell(text: str) -> str:
    """No markup and no other cell comes out of a text."""
    kept = "".join(character for character in text if character.isprintable())
    return kept.replace("\\", "\\\\").replace("|", "\\|").replace("`", "'").replace("<", "&lt;").replace("[", "\\[")
