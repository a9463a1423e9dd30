"""Helm's words, read with Helm's help and written in the one way that Helm can read."""

from __future__ import annotations

import pytest

from verifier.helm.arguments import Arguments, Flag, Given, read_arguments, read_flags, write_arguments
from verifier.model.errors import MisuseError

HELP = """
Usage:
  helm install [NAME] [CHART] [flags]

Examples:
      --not-a-flag string   in a text

Flags:
      --atomic                       if set, ...
      --dry-run string[="client"]    simulate
  -f, --values strings               values in a file
  -g, --generate-name                generate the name
      --set stringArray              set values
      --version string               a version

Global Flags:
  -n, --namespace string   namespace

Use "helm [command] --help" for more.
      --beyond string   not a flag
"""
FLAGS = read_flags(HELP, [Flag("policy", takes_value=True)])


def test_the_help_is_read() -> None:
    assert {name: flag.takes_value for name, flag in FLAGS.items()} == {
        "--atomic": False,
        "--dry-run": False,
        "--values": True,
        "-f": True,
        "--generate-name": False,
        "-g": False,
        "--set": True,
        "--version": True,
        "--namespace": True,
        "-n": True,
        "--policy": True,
    }


@pytest.mark.parametrize(
    ("words", "flags", "names"),
    [
        ("web chart", [], ["web", "chart"]),
        ("web chart --atomic", [("atomic", None)], ["web", "chart"]),
        ("--set a=b web chart", [("set", "a=b")], ["web", "chart"]),
        ("--set=a=b web -f v.yaml chart", [("set", "a=b"), ("values", "v.yaml")], ["web", "chart"]),
        ("-fv.yaml -f=w.yaml -gf x.yaml chart", [("values", "v.yaml"), ("values", "w.yaml"), ("generate-name", None), ("values", "x.yaml")], ["chart"]),
        ("--dry-run chart", [("dry-run", None)], ["chart"]),
        ("--dry-run=server chart", [("dry-run", "server")], ["chart"]),
        ("--set --atomic web chart", [("set", "--atomic")], ["web", "chart"]),
        ("--atomic -- web --chart", [("atomic", None)], ["web", "--chart"]),
        ("web -", [], ["web", "-"]),
    ],
)
def test_words_are_read_as_helm_reads_them(words: str, flags: list[tuple[str, str | None]], names: list[str]) -> None:
    read = read_arguments(words.split(), FLAGS)
    assert [(given.name, given.value) for given in read.flags] == flags
    assert list(read.words) == names


def test_what_is_written_can_be_read_in_one_way_only() -> None:
    written = write_arguments(read_arguments(["--set", "a=b", "web", "-gf", "v.yaml", "--dry-run", "chart"], FLAGS))
    assert written == ["--set=a=b", "--generate-name", "--values=v.yaml", "--dry-run", "--", "web", "chart"]
    assert all(word.startswith("-") for word in written[: written.index("--")])


@pytest.mark.parametrize(("words", "why"), [("--unknown web", "knows no flag '--unknown'"), ("-x web", "knows no flag '-x'"), ("web --set", "needs a value")])
def test_what_helm_would_refuse_is_refused(words: str, why: str) -> None:
    with pytest.raises(MisuseError, match=why) as refused:
        read_arguments(words.split(), FLAGS)
    assert refused.value.code.name == "usage"


def test_a_help_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(MisuseError, match="lists no flags") as refused:
        read_flags("helm: command not found")
    assert refused.value.code.name == "tool-missing"


@pytest.mark.parametrize(("value", "on"), [(None, True), ("true", True), ("yes?", True), ("false", False), ("0", False)])
def test_a_switch_that_is_not_clearly_off_is_on(value: str | None, on: bool) -> None:
    assert Arguments(flags=(Given("verify", value),), words=()).is_on("verify") is on


def test_the_last_value_counts() -> None:
    arguments = Arguments(flags=(Given("version", "1"), Given("version", "2")), words=())
    assert (arguments.value("version"), arguments.value("set"), arguments.is_on("set")) == ("2", None, False)
