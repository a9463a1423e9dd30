"""`verifier release`: one step for CI, from a chart's directory to a published, signed, attested and verified version."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from verifier.cli.options import Network, command_context, context_options, echo, grouped, network_options
from verifier.cli.publish import source_date_epoch
from verifier.cli.sign import SigningFlags, check_flags, signing_options
from verifier.cli.verify import exit_code, tell_error, worst
from verifier.model import codes
from verifier.model.errors import MisuseError, VerifierError
from verifier.operations.resolve import read_local
from verifier.report.text import explain, safe
from verifier.settings import key_password, load_settings

if TYPE_CHECKING:
    from verifier.charts.archive import ChartArchive
    from verifier.ci.build import Build
    from verifier.model.context import Context
    from verifier.operations.policies import LoadedPolicy
    from verifier.operations.release import Plan, Released, Way
    from verifier.operations.signing import Predicate
    from verifier.signers.key import SigningKey

_F = TypeVar("_F", bound=Callable[..., Any])
_EVENT_BYTES = 4 * 1024 * 1024


class ReleaseFlags(Struct, frozen=True, kw_only=True):
    """What a release is to be made of and held to, beside the ways to sign statements."""

    openpgp_key: str | None
    openpgp_passphrase_file: str | None
    sbom: tuple[str, ...]
    attest: tuple[str, ...]
    no_provenance: bool
    policy: str | None


_RELEASE = (
    click.option("--openpgp-key", metavar="KEY", help="Make a .prov, signed by this key (see `verifier sign`)."),
    click.option(
        "--openpgp-passphrase-file", type=click.Path(dir_okay=False), help="That key's passphrase, instead of VERIFIER_OPENPGP_PASSWORD or VERIFIER_PASSWORD."
    ),
    click.option("--sbom", multiple=True, type=click.Path(dir_okay=False), help="Attest this SPDX or CycloneDX document (JSON)."),
    click.option("--attest", multiple=True, metavar="TYPE=FILE", help="Attest this predicate, too (see `verifier attest`)."),
    click.option("--no-provenance", is_flag=True, help="Make no SLSA provenance of what the CI system tells."),
    click.option("--policy", type=click.Path(), help="Hold the result to this policy before it gets its version (or VERIFIER_POLICY)."),
)


def _release_options(command: _F) -> _F:
    return grouped(command, "asked", ReleaseFlags, _RELEASE)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="CHART_DIR... OCI_BASE")
@_release_options
@signing_options
@click.option("--require-tag", metavar="TEMPLATE", help="Release only from the git tag that says the version, such as 'v{version}' or '{name}-{version}'.")
@click.option("--dotenv", type=click.Path(dir_okay=False), help="Also write the results as a dotenv file, for GitLab.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "github"]), default="text", show_default=True)
@context_options
@network_options
def release(
    words: tuple[str, ...],
    network: Network,
    asked: ReleaseFlags,
    flags: SigningFlags,
    output: str,
    dotenv: str | None,
    require_tag: str | None,
    **context: str | None,
) -> int:
    """Package each CHART_DIR, push it below OCI_BASE, sign and attest its digest, verify it as a consumer would, and then give it its version.

    The same command again completes what was interrupted; a version that is published with other bytes is refused. In GitHub Actions and GitLab
    CI a signed SLSA provenance says what was built from what. Exit codes: 0 released, 1 the policy does not allow it, 2 misuse, 3 inconclusive.
    """
    if len(words) < 2:
        raise MisuseError(codes.USAGE, "give the directories of charts, and oci://HOST/PATH")
    check_flags(flags)
    opening = _open_key(flags)  # before the rest of this command is even imported
    from verifier.ci.build import detect_build
    from verifier.operations.release import release_all

    directories, base = words[:-1], words[-1]
    build = detect_build(os.environ, _event())
    epoch, packaged = _package(directories, require_tag, build)
    with network.connected(quiet=asked.openpgp_key is not None) as connections:
        plan = _planner(base, epoch, build, (network, command_context(**context)), (asked, flags, opening))
        results = list(release_all(packaged, plan, connections))
    return _report(results, output, Path(dotenv) if dotenv else None)


def _open_key(flags: SigningFlags) -> Callable[[], SigningKey] | None:
    """The key, once: its passphrase costs a quarter of a second, so that it is opened beside all else where nobody can be asked for one."""
    if flags.key is None:
        return None
    from verifier.cli.sign import signing_key

    if flags.passphrase_file is None and key_password(os.environ) is None and sys.stdin.isatty():
        key = signing_key(flags.key, None)
        return lambda: key
    return ThreadPoolExecutor(1).submit(signing_key, flags.key, flags.passphrase_file).result


def _package(directories: tuple[str, ...], require_tag: str | None, build: Build | None) -> tuple[int, list[tuple[ChartArchive, bytes]]]:
    from verifier.charts.packaging import DEFAULT_EPOCH
    from verifier.ci.tag import check_tag, check_template
    from verifier.operations.release import package

    if require_tag is not None:
        check_template(require_tag)
    epoch = source_date_epoch(DEFAULT_EPOCH)
    packaged = [package(Path(directory), epoch) for directory in directories]
    for chart, _ in packaged:
        if require_tag is not None:
            check_tag(require_tag, chart.facts, build.tag if build is not None else None)
    return epoch, packaged


Ways = tuple[ReleaseFlags, SigningFlags, Callable[[], "SigningKey"] | None]


def _planner(base: str, epoch: int, build: Build | None, here: tuple[Network, Context], ways: Ways) -> Callable[[], Plan]:
    """Keys and files are read once; a plan is made for each chart, with a token of its own."""
    from verifier.operations.release import Plan, present

    started = present()
    network, context = here
    asked, flags, opening = ways
    if asked.openpgp_key is None and opening is None and not flags.keyless:
        raise MisuseError(codes.USAGE, "say how to sign: --key KEYREF, --keyless or --openpgp-key KEY, or several")
    openpgp = _openpgp_way(asked.openpgp_key, asked.openpgp_passphrase_file) if asked.openpgp_key is not None else None
    given = _predicates(asked)
    if given and opening is None and not flags.keyless:
        raise MisuseError(codes.USAGE, "what is attested is signed with --key or --keyless; OpenPGP signs no statements")
    policy = _policy(asked.policy, network)
    created = datetime.fromtimestamp(epoch, UTC) if "SOURCE_DATE_EPOCH" in os.environ else started
    statements = _key_way(opening(), flags) if opening is not None else _keyless_way(flags) if flags.keyless else None

    def plan() -> Plan:
        own = _provenance(build, started) if build is not None and statements is not None and not asked.no_provenance else ()
        return Plan(
            base=base,
            created=created,
            openpgp=openpgp,
            statements=statements() if statements is not None else None,
            predicates=(*own, *given),
            policy=policy,
            context=context,
            unsafe=network.unsafe,
        )

    return plan


def _openpgp_way(keyref: str, passphrase_file: str | None) -> Way:
    from verifier.cli.sign import openpgp_signer
    from verifier.operations.release import Way
    from verifier.operations.signing import Signing
    from verifier.schemes.openpgp.sign import load_openpgp_key, public_half
    from verifier.trust.anchors import OPENPGP, Anchor, TrustMaterial

    public = Anchor(name="the OpenPGP key", kind=OPENPGP, data=public_half(load_openpgp_key(keyref)), any_key=True)
    signing = Signing(sign_text=openpgp_signer(keyref, passphrase_file, "VERIFIER_OPENPGP_PASSWORD"))
    return Way(name="the OpenPGP key", signing=signing, trust=TrustMaterial((public,)))


def _key_way(key: SigningKey, flags: SigningFlags) -> Callable[[], Way]:
    from verifier.cli.sign import key_signing
    from verifier.operations.release import Way
    from verifier.signers.public import public_pem
    from verifier.trust.anchors import KEY, Anchor, TrustMaterial

    trust = TrustMaterial((Anchor(name="the key", kind=KEY, data=public_pem(key.public)),))
    way = Way(name="the key", signing=key_signing(key, flags), trust=trust)
    return lambda: way


def _keyless_way(flags: SigningFlags) -> Callable[[], Way]:
    """A function, for each use needs a fresh token."""
    from verifier.cli.sign import identity_token, instance
    from verifier.operations.release import Way
    from verifier.trust.anchors import ROOT, Anchor, TrustMaterial

    root = instance(flags.trust_config)
    trust = TrustMaterial((Anchor(name="the instance", kind=ROOT, data=root.data),))

    def keyless() -> Way:
        from verifier.operations.signing import keyless_signing
        from verifier.schemes.sigstore.keyless import token_identity

        token = identity_token(flags.identity_token_file, root)
        identity = token_identity(token)
        return Way(name=identity or "the token's identity", signing=keyless_signing(token, root, legacy=False), trust=trust, identity=identity)

    return keyless


def _predicates(asked: ReleaseFlags) -> tuple[Predicate, ...]:
    from verifier.operations.signing import read_predicate, read_sbom

    found = [read_sbom(Path(path)) for path in asked.sbom]
    for item in asked.attest:
        kind, equals, path = item.partition("=")
        if not equals:
            raise MisuseError(codes.USAGE, f"--attest is {item[:80]!r}, expected TYPE=FILE")
        found.append(read_predicate(kind, Path(path)))
    if len({predicate.type for predicate in found}) != len(found):
        raise MisuseError(codes.USAGE, "two documents of one type: which of them counts would be chance")
    return tuple(found)


def _provenance(build: Build, started: datetime) -> tuple[Predicate, ...]:
    from verifier.attest.predicates import SLSA_1
    from verifier.ci.build import write_provenance
    from verifier.operations.release import present
    from verifier.operations.signing import Predicate

    return (Predicate(SLSA_1, write_provenance(build, started=started, finished=present())),)


def _policy(given: str | None, network: Network) -> LoadedPolicy | None:
    from verifier.cli.helm import configured_policy

    return configured_policy(network, given) if given or load_settings(os.environ).policy else None


def _event() -> bytes | None:
    path = os.environ.get("GITHUB_EVENT_PATH")
    return read_local(Path(path), _EVENT_BYTES) if path and os.environ.get("GITHUB_ACTIONS") == "true" else None


def _report(results: list[Released | VerifierError], output: str, dotenv: Path | None) -> int:
    """For a person or a program, and for the pipeline's later steps; returns the worst exit code."""
    statuses = {_status(result, output) for result in results}
    released = [_result(result) for result in results if not isinstance(result, VerifierError) and _allowed(result)]
    problems = [problem for result in results if (problem := _problem(result)) is not None]
    if output == "json":
        echo(json.dumps({"apiVersion": "verifier/v1", "kind": "ReleaseList", "items": released, "problems": problems}, indent=2, ensure_ascii=True))
    _write_outputs(released, problems, dotenv)
    return worst(statuses)


def _status(result: Released | VerifierError, output: str) -> int:
    """Tell one result; returns its exit code."""
    if not isinstance(result, VerifierError):
        _tell(result, output)
        return 0 if result.decision is None else exit_code(result.decision)
    return tell_error(result, output)


def _allowed(result: Released) -> bool:
    return result.decision is None or result.decision.allowed


def _problem(result: Released | VerifierError) -> str | None:
    if isinstance(result, VerifierError):
        return str(result)
    return None if _allowed(result) else f"{result.facts.label}: the policy does not allow it"


def _tell(result: Released, output: str) -> None:
    decision = result.decision
    if decision is not None and not _allowed(result):
        echo(explain(decision, quiet=True), err=True)
        named = "it has no tag, so nobody gets it" if result.state == "withheld" else "IT WAS PUBLISHED BEFORE, under its tag"
        echo(f"verifier: {safe(result.facts.label)} lies there as {result.digest}; {named}", err=True)
    for warning in decision.warnings if decision is not None and _allowed(result) else ():
        echo(f"verifier: {safe(warning)}", err=True)
    if output == "github" and decision is not None:
        from verifier.report.ci import github_annotation

        echo(github_annotation(decision))
    if output != "text" or not _allowed(result):
        return
    echo(f"{result.state:<11}{safe(result.facts.label)}")
    for step in result.steps:
        echo(f"  {safe(step)}")
    echo(f"  verified   {'under the policy ' + safe(decision.policy.name) if decision is not None else 'our own signatures, as the registry hands them out'}")
    echo(f"archive    {result.archive}")
    echo(f"digest     {result.digest}")
    echo(f"reference  {safe(result.reference)}")


def _result(result: Released) -> dict[str, str]:
    return {
        "name": result.facts.name,
        "version": result.facts.version,
        "reference": result.reference,
        "digest": str(result.digest),
        "archive": str(result.archive),
        "state": result.state,
    }


def _write_outputs(released: list[dict[str, str]], problems: list[str], dotenv: Path | None) -> None:
    """GitHub's files are appended to, as its documentation says; ours is replaced whole."""
    from verifier.ci.outputs import write_dotenv, write_outputs, write_summary
    from verifier.operations.signing import write_new

    if os.environ.get("GITHUB_ACTIONS") == "true":
        _append(os.environ.get("GITHUB_OUTPUT"), write_outputs(released))
        _append(os.environ.get("GITHUB_STEP_SUMMARY"), write_summary(released, problems))
    if dotenv is not None:
        write_new(dotenv, write_dotenv(released).encode())


def _append(path: str | None, text: str) -> None:
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=path) from error
