"""The mistakes that everybody makes once: each is recognised by its own example, and by no other's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulators.registry import simulated
from tests.support.cli import run
from tests.support.signers import pair
from verifier.model import codes
from verifier.model.mistakes import MISTAKES, Mistake, advise
from verifier.signers.public import public_pem


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_a_mistake_is_recognised_by_what_it_looks_like(mistake: Mistake) -> None:
    where, words = mistake.example
    assert advise(mistake.codes[0], where, words) == mistake.advice
    assert advise(codes.INTERNAL, where, words) == codes.INTERNAL.advice, "the words alone mean nothing"


def test_titles_and_advice_are_sentences_of_their_own() -> None:
    assert len({mistake.title for mistake in MISTAKES}) == len({mistake.advice for mistake in MISTAKES}) == len(MISTAKES)
    for mistake in MISTAKES:
        assert mistake.advice.endswith("."), mistake.title
        assert mistake.why.endswith("."), mistake.title


@pytest.mark.parametrize("code", [codes.UNAUTHORIZED, codes.NOT_FOUND, codes.RATE_LIMITED, codes.TLS_FAILED, codes.UNREACHABLE])
def test_what_is_no_known_mistake_gets_the_advice_of_its_code(code: codes.Code) -> None:
    assert advise(code, "https://registry.acme.example", "something else") == code.advice


def test_hosts_are_not_taken_for_one_another() -> None:
    words = "manifest 1: not permitted (the registry says: DENIED expired)"
    assert "ecr" in advise(codes.FORBIDDEN, "https://123456789012.dkr.ecr.eu-central-1.amazonaws.com:443", words)
    for host in ("registry.acme.example", "ecr.acme.example", "s3.amazonaws.com"):
        assert "ecr" not in advise(codes.FORBIDDEN, f"https://{host}:443", words)


@pytest.mark.parametrize(
    "command", [("registry", "list", "https://reg.test/acme/web"), ("copy", "https://reg.test/acme/web:1", "oci://reg.test/b", "--key", "x")]
)
def test_what_is_about_registries_says_so(command: tuple[str, ...]) -> None:
    ran = run(*command)
    assert (ran.status, "[reference-invalid]" in ran.err, "This is about a registry: write oci://" in ran.err) == (2, True, True)


def test_the_command_line_gives_the_advice(tmp_path: Path) -> None:
    """A registry that was named like a chart repository has no index."""
    (tmp_path / "ci.pub").write_bytes(public_pem(pair("ci").public))
    with simulated() as registry:
        ran = run("verify", f"http://{registry.host}/acme/charts/web:1.4.2", "--key", str(tmp_path / "ci.pub"))
    assert ran.status == 3
    assert "write oci:// in place of https://" in ran.out
