"""`verifier registry list` and `verifier registry prune`: what a repository holds, and what of it goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verifier.cli.check import read_place
from verifier.cli.options import Network, echo, network_options, warn_unsafe
from verifier.cli.trust import TrustFlags, trust_options
from verifier.formats.json import dump_json
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.model.reference import SCHEME, Reference
from verifier.net.deadline import Deadline
from verifier.oci.repository import Repository
from verifier.report.text import safe

if TYPE_CHECKING:
    from verifier.operations.listing import Listed
    from verifier.operations.prune import Pruning
    from verifier.operations.retention import Keep

_SECONDS = 600.0
_NEWEST = 50
_AGE = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}
_PIN_BYTES = 16 * 1024 * 1024
_PIN_FILES = 10_000


@click.command("list")
@click.argument("target", metavar="HOST/PATH/NAME")
@click.option("--all", "everything", is_flag=True, help=f"Look at all tags, not only at the newest {_NEWEST}.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@trust_options
@network_options
def list_versions(target: str, everything: bool, output: str, trust: TrustFlags, network: Network) -> int:
    """List the versions of a chart, newest first, with digests and the state of their signatures.

    With trust flags or a policy a signature of whom they name is called verified; without, what is found is called present. Nothing is judged: use
    `verifier verify` for a decision. Exit 3 if something could not be told.
    """
    from verifier.operations.listing import look_at, newest_first
    from verifier.trust.anchors import TrustMaterial

    repository = _reference(target)
    material = trust.load([repository], network).trust if trust.given or trust.policy else TrustMaterial()
    warn_unsafe(network.unsafe + trust.unsafe)
    with network.connected() as connections:
        place = Repository(connections.session, repository.registry, repository.repository, Deadline.after(_SECONDS))
        tags = newest_first(place.tags())
        found = look_at(tags if everything else tags[:_NEWEST], repository, material, connections)
    left = len(tags) - len(found)
    if output == "json":
        echo(dump_json({"repository": repository.name, "tags": [_value(item) for item in found], "older": left}).decode())
    else:
        echo(f"{SCHEME}{repository.name}")
        for item in found:
            echo(_line(item))
        if left:
            echo(f"  and {left} older: --all")
    return 3 if any(item.state == "unknown" for item in found) else 0


def _value(item: Listed) -> dict[str, Any]:
    digest = str(item.digest) if item.digest is not None else None
    return {"tag": item.tag, "digest": digest, "state": item.state, "signatures": item.verified + item.present}


def _line(item: Listed) -> str:
    count = item.verified or item.present
    what = f"{count} signature{'s' if count != 1 else ''}" if count else ""
    why = f"{safe(item.gaps[0].reason)} [{item.gaps[0].code.name}]" if item.gaps else ""
    return f"  {safe(item.tag):<20} {item.digest or ''!s:<71} {item.state:<8} {why or what}".rstrip()


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="HOST/PATH/NAME...")
@click.option("--keep-last", type=click.IntRange(1), metavar="N", help="Keep the newest N of each minor version, pre-releases counted apart.")
@click.option("--newer-than", metavar="AGE", help="Keep what is newer than this: 90d, 12w or 36h.")
@click.option("--keep-tag", "keep_tags", multiple=True, metavar="PATTERN", help="Keep tags that match (`*` and `?`); may be repeated.")
@click.option(
    "--keep-pinned",
    "pinned",
    multiple=True,
    type=click.Path(exists=True),
    metavar="FILE",
    help="Keep what a file, or the files of a folder, pin by digest or name.",
)
@click.option("--yes", is_flag=True, help="Delete. Without it the plan is printed and nothing is done.")
@network_options
def prune(targets: tuple[str, ...], yes: bool, network: Network, **rules: Any) -> int:
    """Delete old versions of charts, with what is attached to them; without --yes only say which.

    The rules of keeping are joined; what none of them keeps goes. Tags that are no versions stay, and so does every digest that a tag that stays, an
    index, or a pin names. What is attached goes with its chart; what is attached to a chart that is gone goes, too.
    """
    from verifier.operations.prune import execute, plan_pruning

    repositories = [_reference(target) for target in targets]
    warn_unsafe(network.unsafe)
    with network.connected() as connections:
        for repository in repositories:
            place = Repository(connections.session.for_writing(), repository.registry, repository.repository, Deadline.after(_SECONDS))
            pruning = plan_pruning(place, _keep(repository, rules))
            echo(f"{SCHEME}{repository.name}")
            for line in _plan_lines(pruning):
                echo(f"  {line}")
            if yes:
                for done in execute(place, pruning):
                    what = f"kept     {done.digest}: {done.kept}" if done.kept else f"deleted  {done.digest} {' '.join(done.tags)} (attached: {done.attached})"
                    echo(f"  {safe(what)}")
    if not yes:
        echo("nothing was deleted: this is the plan, --yes executes it")
    return 0


def _keep(repository: Reference, rules: dict[str, Any]) -> Keep:
    from verifier.operations.retention import Keep, Pins, find_pins

    digests: set[str] = set()
    tags: set[str] = set()
    for text in _texts(rules["pinned"]):
        pins = find_pins(text, repository.name)
        digests |= pins.digests
        tags |= pins.tags
    newer = _age(rules["newer_than"]) if rules["newer_than"] else None
    pinned = Pins(frozenset(digests), frozenset(tags))
    return Keep(last=rules["keep_last"], newer_than=newer, tags=rules["keep_tags"], pins=pinned)


def _texts(paths: tuple[str, ...]) -> Iterator[str]:
    from verifier.operations.resolve import read_local

    for path in map(Path, paths):
        files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file() and ".git" not in item.parts)
        if len(files) > _PIN_FILES:
            raise MisuseError(codes.USAGE, f"more than {_PIN_FILES} files", where=str(path))
        yield from (read_local(file, _PIN_BYTES).decode("utf-8", "replace") for file in files)


def _age(text: str) -> timedelta:
    found = _AGE.fullmatch(text)
    if found is None:
        raise MisuseError(codes.USAGE, f"--newer-than {text[:40]!r} is no age: write 90d, 12w or 36h")
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])


def _plan_lines(pruning: Pruning) -> Iterator[str]:
    for tag, why in pruning.plan.kept.items():
        yield safe(f"keep     {tag}: {why}")
    for chart in pruning.charts:
        yield safe(f"delete   {chart.digest} {' '.join(chart.tags)} (attached: {len(chart.attached)})")
    for orphan in pruning.orphans:
        yield safe(f"orphans  of {orphan.digest}, which is gone ({len(orphan.attached)})")


def _reference(target: str) -> Reference:
    registry, repository = read_place(target)
    if not repository:
        raise MisuseError(codes.REFERENCE_INVALID, "expected HOST/PATH/NAME", where=repr(target[:200]))
    return Reference(registry=registry, repository=repository, tag=None, digest=None, written=target)
