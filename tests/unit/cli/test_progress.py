"""Progress is one line for somebody who waits, and nothing for anybody else."""

from __future__ import annotations

import contextlib
import io

import pytest

from tests.simulators.registry import Switches, simulated
from verifier.cli import progress
from verifier.cli.main import execute


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(*arguments: str, stream: io.StringIO) -> tuple[str, str]:
    """Stdout and stderr of a command that waits for a registry which sends a byte at a time."""
    out = io.StringIO()
    with simulated(Switches(body={"/manifests/": b"x" * 6}, drip="/manifests/")) as slow, contextlib.redirect_stdout(out), contextlib.redirect_stderr(stream):
        execute([*(item.replace("HOST", slow.host) for item in arguments)])
    return out.getvalue(), stream.getvalue()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(progress, "_PATIENCE", 0.01)
    monkeypatch.setattr(progress, "_PERIOD", 0.01)
    monkeypatch.setenv("TERM", "xterm")


def test_a_slow_command_says_what_it_waits_for_and_wipes_it() -> None:
    out, err = shown("inspect", "oci://HOST/acme/web:1.4.2", stream=Terminal())
    assert "verifier: 0 s, 0 answers" in err
    assert err.rpartition("\n")[2].endswith(progress._WIPE)
    assert "\x1b" not in out


def test_the_last_answer_is_named_without_its_secrets() -> None:
    stream = Terminal()
    line = progress.Progress(stream)
    line.note("GET https://registry.example/v2/x\x1b]0;evil -> 200")
    assert line._line().startswith("verifier: 0 s, 1 answer, last GET https://registry.example/v2/x")
    assert "\x1b" not in line._line()


@pytest.mark.parametrize("how", ["a pipe", "TERM=dumb", "--debug", "a quick command"])
def test_others_see_no_progress(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream: io.StringIO = io.StringIO() if how == "a pipe" else Terminal()
    if how == "TERM=dumb":
        monkeypatch.setenv("TERM", "dumb")
    if how == "a quick command":
        monkeypatch.setattr(progress, "_PATIENCE", 60.0)
    extra = ["--debug"] if how == "--debug" else []
    _, err = shown("inspect", "oci://HOST/acme/web:1.4.2", *extra, stream=stream)
    assert "answers" not in err
    assert progress._WIPE not in err


def test_quiet_is_quiet(tmp_path: object) -> None:
    from tests.support.signers import pair
    from verifier.signers.public import public_pem

    with open(f"{tmp_path}/ci.pub", "wb") as file:
        file.write(public_pem(pair().public))
    for extra, expected in (((), True), (("-q",), False)):
        _, err = shown("verify", "oci://HOST/acme/web:1.4.2", "--key", f"{tmp_path}/ci.pub", *extra, stream=Terminal())
        assert (progress._WIPE in err) is expected
