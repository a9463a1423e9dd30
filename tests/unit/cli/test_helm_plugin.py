"""`helm verifier ...` and its installation, with a Helm that says what it was given. What real Helms do is in tests/interop."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.simulators.chart_repository import chart_repository, entry, index_of
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from tests.unit.cli.test_helm_get import CHART, configure, provenance, signed
from tests.unit.helm.test_arguments import HELP
from verifier.model.digest import sha256
from verifier.schemes.sigstore.sign import sign_digest

FAKE = f"""#!{sys.executable}
import json, os, sys
words, said = sys.argv[1:], json.load(open(os.path.dirname(os.path.abspath(sys.argv[0])) + "/said.json"))
if words[:1] == ["version"]:
    print(said["version"])
elif words == ["env", "HELM_PLUGINS"]:
    print(said["plugins"])
elif words == ["plugin", "list"]:
    if said.get("broken"):
        sys.exit("Error: failed to load plugin")
    if said.get("blind"):
        sys.exit(0)
    for name in sorted(os.listdir(os.environ["HELM_PLUGINS"])):
        print(name, "0.1.0")
elif words[1:] == ["--help"]:
    print(said["help"])
else:
    chart = words[-1]
    beside = sorted(os.listdir(os.path.dirname(chart)))
    secret = os.environ.get("VERIFIER_PASSWORD", "none")
    print(json.dumps({{"words": words, "bytes": open(chart, "rb").read().hex(), "beside": beside, "mode": oct(os.stat(os.path.dirname(chart)).st_mode), "secret": secret}}))
    sys.exit(said.get("status", 0))
"""
FLAGS = """
      --dependency-update    update
      --devel                development versions
      --repo string          repository
      --username string      user
      --password string      password
      --verify               verify
      --keyring string       keyring
      --post-renderer string   post-renderer
      --insecure-skip-tls-verify   skip
      --ca-file string       CA
  -h, --help                 help
"""


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Helm that says what it was given; its answers are in said.json beside it."""
    place = tmp_path / "bin"
    place.mkdir()
    program = place / "helm"
    program.write_text(FAKE)
    program.chmod(0o755)
    say(program)
    monkeypatch.setenv("HELM_BIN", str(program))
    return program


def say(program: Path, **answers: object) -> None:
    help_text = HELP.replace("Global Flags:", f"{FLAGS}\nGlobal Flags:")
    plugins = str(program.parents[1] / "data" / "plugins")
    (program.parent / "said.json").write_text(json.dumps({"version": "v4.3.1", "plugins": plugins, "help": help_text, **answers}))


def wrapped(*words: str, capfd: pytest.CaptureFixture[str]) -> tuple[Ran, dict[str, object] | None]:
    """What we said, and what Helm was given: it writes to the process's own stdout."""
    capfd.readouterr()
    ran = run("helm", "plugin", *words)
    out = capfd.readouterr().out
    return ran, json.loads(out) if out.strip() else None


def refused(ran: Ran, given: object, status: int, code: str) -> None:
    assert (ran.status, given) == (status, None), ran.err
    assert f"[{code}]" in ran.err, ran.err


def test_helm_gets_the_verified_bytes_and_the_users_own_words(
    registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(registry, monkeypatch, tmp_path)
    monkeypatch.setenv("VERIFIER_PASSWORD", "not for helm")
    signed(registry)
    ran, given = wrapped("install", "shop", f"oci://{registry}/acme/web:1.4.2", "--set", "a=b", "-n", "x", "--cluster", "c1", capfd=capfd)
    assert ran.status == 0, ran.err
    assert given is not None
    words = given["words"]
    assert isinstance(words, list)
    assert words[:5] == ["install", "--set=a=b", "--namespace=x", "--", "shop"]
    assert (Path(words[5]).name, given["bytes"], given["beside"]) == ("web-1.4.2.tgz", CHART.hex(), ["web-1.4.2.tgz"])
    assert (str(given["mode"])[-3:], given["secret"]) == ("700", "none")
    assert not Path(words[5]).exists(), "what was handed to Helm is gone afterwards"


@pytest.mark.parametrize("words", [["web", "{chart}"], ["{chart}"], ["web", "verified+{chart}"], ["web", "{bare}", "--version", "1.4.2"], ["-g", "{chart}"]])
def test_ways_to_name_the_chart(
    words: list[str], registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    bare = f"oci://{registry}/acme/web"
    ran, given = wrapped("template", *(word.format(chart=f"{bare}:1.4.2", bare=bare) for word in words), capfd=capfd)
    assert ran.status == 0, ran.err
    assert given is not None
    assert (given["bytes"], "--version=1.4.2" in str(given["words"])) == (CHART.hex(), False)


def test_a_file_of_ones_own_under_a_rule_for_files(
    registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(registry, monkeypatch, tmp_path)
    (tmp_path / "web-1.4.2.tgz").write_bytes(CHART)
    ran, given = wrapped("install", "web", str(tmp_path / "web-1.4.2.tgz"), capfd=capfd)
    refused(ran, given, 1, "no-rule")
    policy = (tmp_path / "policy.yaml").read_text().replace('charts: ["', 'charts: ["file:*.tgz", "')
    (tmp_path / "policy.yaml").write_text(policy)
    refused(*wrapped("install", "web", str(tmp_path / "web-1.4.2.tgz"), capfd=capfd), 1, "unsigned")


def test_denied_helm_is_not_run(registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure(registry, monkeypatch, tmp_path)
    publish(connect(), registry, CHART)
    refused(*wrapped("install", "web", f"oci://{registry}/acme/web:1.4.2", capfd=capfd), 1, "unsigned")
    refused(*wrapped("upgrade", "web", f"oci://{registry}/acme/none:1.4.2", capfd=capfd), 3, "not-found")


def test_helms_own_exit_code_is_ours(registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    say(helm, status=7)
    assert wrapped("install", "web", f"oci://{registry}/acme/web:1.4.2", capfd=capfd)[0].status == 7


def test_the_prov_lies_beside_for_helms_verify(
    registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry, prov=provenance())
    ran, given = wrapped("install", "web", f"oci://{registry}/acme/web:1.4.2", "--verify", "--keyring", "k.gpg", capfd=capfd)
    assert ran.status == 0, ran.err
    assert given is not None
    assert given["beside"] == ["web-1.4.2.tgz", "web-1.4.2.tgz.prov"]
    assert "--keyring=k.gpg" in str(given["words"])


@pytest.mark.parametrize(
    "words",
    [
        ["web", "{url}/web:1.4.2"],
        ["web", "{url}/web", "--version", "1.4.2"],
        ["web", "web", "--repo", "{url}", "--version", "1.4.2"],
        ["web", "web", "--repo={url}/", "--version=v1.4.2"],
    ],
)
def test_a_chart_of_a_chart_repository(
    words: list[str], helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with chart_repository() as (repository, host):
        name = repository.add(CHART, bundle=sign_digest(sha256(CHART), pair(), name="web-1.4.2.tgz"), prov=provenance())
        repository.files["/charts/index.yaml"] = index_of([entry(CHART, name)])
        url = f"http://{host}/charts"
        configure(host, monkeypatch, tmp_path)
        policy = tmp_path / "policy.yaml"
        policy.write_text(policy.read_text().replace(f"oci://{host}/acme", url))
        ran, given = wrapped("install", *(word.format(url=url) for word in words), capfd=capfd)
        assert ran.status == 0, ran.err
        assert given is not None
        assert (given["bytes"], given["beside"]) == (CHART.hex(), ["web-1.4.2.tgz", "web-1.4.2.tgz.prov"])
        assert "repo" not in str(given["words"]).replace("pytest", ""), "Helm fetches nothing itself"
        repository.add(archive("web", "1.4.2", {"templates/x.yaml": b"x: 1\n"}))
        ran, given = wrapped("install", *(word.format(url=url) for word in words), capfd=capfd)
        refused(ran, given, 1, "signer-not-allowed")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--dependency-update"], "fetches charts while Helm runs"),
        (["--dependency-update=true"], "fetches charts while Helm runs"),
        (["--repo", "s3://charts"], "expected the https:// URL"),
        (["--repo", "oci://reg.test/charts"], "expected the https:// URL"),
        (["--devel"], "a range is not resolved here"),
        (["--username", "x", "--password", "y"], "helm registry login"),
        (["--version", "^1.0"], "a range is not resolved here"),
        (["--version", "9.9.9"], "--version says 9.9.9"),
        (["--no-such-flag"], "knows no flag"),
    ],
)
def test_what_would_fetch_something_else_is_refused(
    flags: list[str], why: str, registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    ran, given = wrapped("install", "web", f"oci://{registry}/acme/web:1.4.2", *flags, capfd=capfd)
    refused(ran, given, 2, "usage")
    assert why in ran.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["web"], "usage"),
        (["web", "a", "b"], "usage"),
        (["web", "./chart"], "reference-invalid"),
        (["web", "repo/chart"], "reference-invalid"),
        (["web", "https://charts.example.test/web-1.4.2.tgz"], "reference-invalid"),
        (["web", "oci://reg.test/acme/web"], "reference-invalid"),
    ],
)
def test_what_cannot_be_verified_is_refused(
    words: list[str], code: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure("reg.test", monkeypatch, tmp_path)
    refused(*wrapped("install", *words, capfd=capfd), 2, code)


def test_a_post_renderer_is_unsafe_and_said_so(
    registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    ran, given = wrapped("install", "web", f"oci://{registry}/acme/web:1.4.2", "--post-renderer", "cat", capfd=capfd)
    assert (ran.status, "UNSAFE: --post-renderer is on" in ran.err) == (0, True)
    assert given is not None


def test_no_policy_and_no_helm(registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused(*wrapped("install", "web", f"oci://{registry}/acme/web:1.4.2", capfd=capfd), 2, "no-policy")
    monkeypatch.setenv("HELM_BIN", str(tmp_path / "no-helm"))
    refused(*wrapped("install", "web", f"oci://{registry}/acme/web:1.4.2", capfd=capfd), 2, "tool-missing")


def test_a_policy_by_flag(registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure(registry, monkeypatch, tmp_path)
    monkeypatch.delenv("VERIFIER_POLICY")
    signed(registry)
    reference = f"oci://{registry}/acme/web:1.4.2"
    assert wrapped("install", "web", reference, "--policy", str(tmp_path / "policy.yaml"), capfd=capfd)[0].status == 0
    said = run("helm", "install", "--help")
    assert (said.status, "--dependency-update" in said.out) == (0, True)


def test_other_commands_are_verifiers_own_with_helms_namespace(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path, rule="    when: {namespace: [shop]}\n")
    signed(registry)
    monkeypatch.setenv("HELM_NAMESPACE", "shop")
    monkeypatch.setenv("HELM_DEBUG", "true")
    ran = run("helm", "plugin", "verify", f"oci://{registry}/acme/web:1.4.2")
    assert (ran.status, "ALLOWED" in ran.out, "debug: " in ran.err) == (0, True, True)
    monkeypatch.setenv("VERIFIER_NAMESPACE", "other")
    assert run("helm", "plugin", "verify", f"oci://{registry}/acme/web:1.4.2").status == 1
    assert run("helm", "plugin", "no-such-command").status == 2


# install-plugin


def install(helm: Path, *options: str) -> Ran:
    return run("helm", "install-plugin", "--helm", str(helm), *options)


@pytest.mark.parametrize(("version", "names"), [("v4.3.1", ["verifier", "verifier-getter"]), ("v3.17.3+g1", ["verifier"])])
def test_the_plugin_is_written_and_left_alone_the_second_time(version: str, names: list[str], helm: Path, tmp_path: Path) -> None:
    say(helm, version=version)
    ran = install(helm)
    assert ran.status == 0, ran.err
    assert sorted(os.listdir(tmp_path / "data" / "plugins")) == names
    assert [line.split()[0] for line in ran.out.splitlines()] == ["written"] * len(names) + ["for", "python"]
    assert (tmp_path / "data" / "plugins" / "verifier" / "interpreter").read_text() == f"{sys.executable}\n"
    assert "unchanged" in install(helm).out
    (tmp_path / "data" / "plugins" / "verifier" / "interpreter").write_text("/old/python\n")
    assert "updated" in install(helm).out
    assert sorted(os.listdir(tmp_path / "data")) == ["plugins"], "nothing of the staging is left"


def test_two_helms_with_one_directory_get_the_form_that_both_read(helm: Path, tmp_path: Path) -> None:
    assert "(form helm4)" in install(helm).out
    say(helm, version="v3.21.4")
    assert "(form both)" in install(helm).out
    say(helm, version="v4.3.1")
    assert "(form both)" in install(helm).out
    assert "apiVersion" not in (tmp_path / "data" / "plugins" / "verifier" / "plugin.yaml").read_text()
    back = install(helm, "--form", "helm3")
    assert ("removed" in back.out, sorted(os.listdir(tmp_path / "data" / "plugins"))) == (True, ["verifier"])


def test_another_plugin_of_the_name_is_left_alone(helm: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "data" / "plugins" / "verifier"
    theirs.mkdir(parents=True)
    (theirs / "plugin.yaml").write_text("name: verifier\n")
    refused(install(helm), None, 2, "plugin-foreign")
    assert (theirs / "plugin.yaml").read_text() == "name: verifier\n"
    (theirs / "plugin.yaml").unlink()
    theirs.rmdir()
    theirs.symlink_to(tmp_path)
    refused(install(helm), None, 2, "plugin-foreign")
    assert theirs.is_symlink()


@pytest.mark.parametrize(("answers", "why"), [({"broken": True}, "failed to load plugin"), ({"blind": True}, "does not show verifier")])
def test_a_plugin_that_helm_cannot_read_is_not_put_in_place(answers: dict[str, bool], why: str, helm: Path, tmp_path: Path) -> None:
    say(helm, **answers)
    ran = install(helm)
    refused(ran, None, 2, "plugin-broken")
    assert why in ran.err
    assert os.listdir(tmp_path / "data" / "plugins") == []


def test_a_python_that_does_not_have_verifier_is_refused(helm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    refused(install(helm), None, 2, "plugin-broken")
    assert os.listdir(tmp_path / "data" / "plugins") == []


def test_a_helm_that_is_none(helm: Path, tmp_path: Path) -> None:
    say(helm, version="v2.17.0")
    refused(install(helm), None, 2, "tool-missing")
    refused(install(tmp_path / "nothing"), None, 2, "tool-missing")


def test_a_directory_that_cannot_be_written(helm: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file\n")
    refused(install(helm), None, 2, "write-failed")


def test_archives_for_a_release(tmp_path: Path) -> None:
    ran = run("helm", "package-plugin", "-d", str(tmp_path / "out"))
    assert ran.status == 0, ran.err
    assert sorted(os.listdir(tmp_path / "out")) == ["verifier-0.1.0.tgz", "verifier-getter-0.1.0.tgz", "verifier-helm3-0.1.0.tgz"]


def test_each_run_has_a_directory_of_its_own(
    registry: str, helm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each has a directory of its own, so that one's end does not take the other's file away."""
    configure(registry, monkeypatch, tmp_path)
    other = archive("db", "1.0.0")
    digest = publish(connect(), registry, other, name="acme/db", tag="1.0.0")
    sign(connect(), registry, digest, pair(), name="acme/db")
    signed(registry)
    _, first = wrapped("template", f"oci://{registry}/acme/web:1.4.2", capfd=capfd)
    _, second = wrapped("template", f"oci://{registry}/acme/db:1.0.0", capfd=capfd)
    assert first is not None
    assert second is not None
    assert Path(str(first["words"][-1])).parent != Path(str(second["words"][-1])).parent  # type: ignore[index]
    assert second["bytes"] == other.hex()
