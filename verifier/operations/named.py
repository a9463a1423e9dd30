"""Charts that files name, each verified: what cannot be verified as it is named is a failure with a reason, never left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from verifier.formats.yaml import YamlError, load_values
from verifier.model import codes, limits
from verifier.model.errors import FailedError, MisuseError, VerifierError
from verifier.model.reference import AnyReference, parse
from verifier.operations.resolve import read_local
from verifier.workloads.chart_files import locked_versions
from verifier.workloads.files import charts_in
from verifier.workloads.use import ChartUse, Named, Unverifiable


def read_uses(files: Sequence[Path]) -> tuple[ChartUse, ...]:
    """All charts that the files name; raises MisuseError `file-unreadable` or `no-chart`."""
    contents = {str(path): read_local(path, limits.NAMING_BYTES) for path in files}
    locks = {str(path): _locked(path.with_name("Chart.lock")) for path in files if path.name == "Chart.yaml"}
    return charts_in(contents, locks)


def _locked(path: Path) -> Mapping[str, str]:
    if not path.is_file():
        return {}
    try:
        values = list(load_values(read_local(path, limits.CONFIG_BYTES)))
    except YamlError as error:
        raise MisuseError(codes.FILE_UNREADABLE, str(error), where=str(path)) from error
    return locked_versions(values[0]) if values else {}


def references_of(uses: Sequence[ChartUse]) -> tuple[dict[AnyReference, tuple[str, ...]], list[VerifierError]]:
    """Each reference once, with all places that name it; and a FailedError `chart-unverifiable` for what cannot be verified as it is named."""
    found: dict[AnyReference, tuple[str, ...]] = {}
    failed: list[VerifierError] = []
    written: dict[str, AnyReference] = {}
    for use in uses:
        if not isinstance(use, Named):
            problem = use.problem if isinstance(use, Unverifiable) else "a chart inside the object itself; no registry holds it under this name"
            failed.append(FailedError(codes.CHART_UNVERIFIABLE, problem, where=use.place))
            continue
        try:
            reference = parse(use.reference)
        except MisuseError as error:
            failed.append(FailedError(codes.CHART_UNVERIFIABLE, error.reason, where=use.place))
            continue
        known = written.setdefault(str(reference), reference)
        found[known] = (*found.get(known, ()), use.place)
    return found, failed
