"""What `verifier registry check` prints: a line for each thing that was looked at, as it is found."""

from __future__ import annotations

from collections.abc import Iterator

from verifier.cli.options import Network, echo, warn_unsafe
from verifier.formats.json import dump_json
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.model.reference import SCHEME, canonical_host, is_repository
from verifier.net.deadline import Deadline
from verifier.oci.keychain import Credentials
from verifier.operations.connections import Connections
from verifier.operations.doctor import Line, Patient, State, examine
from verifier.report.text import safe

_SECONDS = 60.0
_EXIT = {State.WRONG: 1, State.UNKNOWN: 3}


def report_check(target: str, write: bool, output: str, network: Network) -> int:
    """Look, print, and say by the exit code whether all is well."""
    registry, repository = read_place(target)
    if write and not repository:
        raise MisuseError(codes.USAGE, "--write needs a repository to write to: HOST/PATH/NAME")
    place = f"{registry}/{repository}" if repository else registry
    warn_unsafe(network.unsafe)
    found: list[Line] = []
    with network.connected() as connections:
        if output == "text":
            echo(place)
        for line in _lines(registry, repository, write, connections):
            found.append(line)
            if output == "text":
                _print(line)
    if output == "json":
        echo(dump_json({"registry": registry, "repository": repository or None, "lines": [_value(line) for line in found]}).decode())
    return max((_EXIT.get(line.state, 0) for line in found), key=lambda status: (status == 1, status), default=0)


def read_place(target: str) -> tuple[str, str]:
    """Host and repository of `[oci://]HOST[/PATH/NAME]`, a tag or digest left out; raises MisuseError `reference-invalid`."""
    rest = target.removeprefix(SCHEME)
    if "://" in rest:
        raise MisuseError(codes.REFERENCE_INVALID, "expected HOST or HOST/PATH/NAME", where=repr(target[:200]))
    host, slash, path = rest.partition("/")
    repository = path.partition("@")[0].partition(":")[0].strip("/")
    registry = canonical_host(host, written=target)
    if slash and repository and not is_repository(repository):
        raise MisuseError(codes.REFERENCE_INVALID, f"{repository[:100]!r} is no repository's name", where=repr(target[:200]))
    return registry, repository


def _lines(registry: str, repository: str, write: bool, connections: Connections) -> Iterator[Line]:
    keychain = connections.session.credentials
    assert isinstance(keychain, Credentials)
    patient = Patient(session=connections.session, registry=registry, repository=repository, deadline=Deadline.after(_SECONDS), sources=keychain.sources)
    good = True
    for line in examine(patient):
        good = good and line.state is not State.WRONG
        yield line
    if not write and repository and good:
        yield Line(topic="tags", state=State.SKIPPED, text="whether they can be moved, and what is attached is listed, only writing shows: --write")
    elif write and good:
        from verifier.operations.trial import try_writing

        yield from try_writing(patient.place)


def _print(line: Line) -> None:
    code = f" [{line.code.name}]" if line.code is not None else ""
    echo(f"  {line.state.value:<8} {line.topic:<11} {safe(line.text)}{code}")
    if line.advice:
        echo(f"           {'next':<11} {line.advice}")


def _value(line: Line) -> dict[str, str | None]:
    code = line.code.name if line.code is not None else None
    return {"topic": line.topic, "state": line.state.value, "text": line.text, "code": code, "advice": line.advice or None}
