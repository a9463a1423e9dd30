"""The getter as Helm calls it: the verified bytes on stdout, or nothing and the reason on stderr."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.simulators.registry import Switches, simulated
from tests.support.charts import archive, chart_file
from tests.support.cli import CANARY, Ran, run
from tests.support.signers import pair, pgp
from tests.support.world import connect, publish, sign
from verifier.charts.provenance import write_provenance
from verifier.model.digest import Digest
from verifier.signers.public import public_pem

CHART = archive("web", "1.4.2")


def get(url: str, *, ca: str = "") -> Ran:
    return run("helm", "get", "", "", ca, f"verified+oci://{url}")


def configure(host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rule: str = "", charts: str = "acme/*") -> None:
    """A policy of the user's: charts below HOST/acme are signed by ci."""
    (tmp_path / "ci.pub").write_bytes(public_pem(pair().public))
    (tmp_path / "policy.yaml").write_text(
        f"""\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: mine}}
trust:
  ci: {{key: {{file: ci.pub}}}}
rules:
  - name: ours
    charts: ["oci://{host}/{charts}"]
    require: {{signed: {{by: ci}}}}
{rule}
"""
    )
    monkeypatch.setenv("VERIFIER_POLICY", str(tmp_path / "policy.yaml"))


def signed(host: str, data: bytes = CHART, *, name: str = "acme/web", tag: str = "1.4.2", prov: bytes | None = None) -> Digest:
    connections = connect()
    digest = publish(connections, host, data, name=name, tag=tag, prov=prov)
    sign(connections, host, digest, pair(), name=name)
    return digest


def provenance(data: bytes = CHART) -> bytes:
    chart = chart_file(data)
    return pgp().clearsign(write_provenance(chart.facts, chart.digest))


def refused(ran: Ran, status: int, code: str) -> None:
    assert (ran.status, ran.data) == (status, b""), ran.err
    assert f"[{code}]" in ran.err, ran.err
    assert len(ran.err.splitlines()) <= 8, ran.err


@pytest.mark.parametrize("form", ["{host}/acme/web:1.4.2", "{host}/acme/web@{digest}", "{host}/acme/web:1.4.2@{digest}", "{host}/acme/web-1.4.2.tgz"])
def test_allowed_the_verified_bytes_and_nothing_else(registry: str, form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    ran = get(form.format(host=registry, digest=signed(registry)))
    assert (ran.status, ran.data, ran.err) == (0, CHART, "")


def test_what_the_policy_warns_of_is_said_and_the_chart_is_handed_over(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    data = archive("web", "1.4.2", {"charts/db/Chart.yaml": b"apiVersion: v2\nname: db\nversion: 1.0.0\n"})
    signed(registry, data)
    ran = get(f"{registry}/acme/web:1.4.2")
    assert (ran.status, ran.data, ran.err) == (0, data, "verifier: subcharts: not judged\n")


def test_denied_nothing_is_handed_over(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    publish(connect(), registry, CHART)
    refused(get(f"{registry}/acme/web:1.4.2"), 1, "unsigned")
    refused(get(f"{registry}/acme/web-1.4.2.tgz.prov"), 1, "unsigned")


def test_a_chart_that_no_rule_speaks_of_is_not_even_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with simulated() as other:
        configure("reg.test", monkeypatch, tmp_path)
        refused(get(f"{other.host}/acme/web:1.4.2"), 1, "no-rule")
        refused(get(f"{other.host}/acme/web-1.4.2.tgz.prov"), 1, "no-rule")
        refused(get(f"{other.host}/acme/index.yaml"), 1, "no-rule")
        assert other.requests == []


def test_a_registry_that_is_down_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with simulated(Switches(status={"/manifests/": 503})) as down:
        configure(down.host, monkeypatch, tmp_path)
        refused(get(f"{down.host}/acme/web:1.4.2"), 3, "registry-error")


def test_without_a_policy_nothing_is_trusted(registry: str) -> None:
    signed(registry)
    ran = get(f"{registry}/acme/web:1.4.2")
    refused(ran, 2, "no-policy")
    assert "VERIFIER_POLICY" in ran.err


def test_a_policy_in_the_working_directory_is_not_taken(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    monkeypatch.chdir(tmp_path)
    Path("verifier.yaml").write_text("policy: policy.yaml\n")
    monkeypatch.setenv("VERIFIER_POLICY", "policy.yaml")
    refused(get(f"{registry}/acme/web:1.4.2"), 2, "config-invalid")
    monkeypatch.delenv("VERIFIER_POLICY")
    refused(get(f"{registry}/acme/web:1.4.2"), 2, "no-policy")


def test_the_user_s_own_configuration_is_taken(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    monkeypatch.delenv("VERIFIER_POLICY")
    own = Path(os.environ["HOME"]) / ".config" / "verifier" / "verifier.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(f"policy: {tmp_path / 'policy.yaml'}\n")
    assert get(f"{registry}/acme/web:1.4.2").data == CHART


def test_an_unreadable_keyring_is_misuse(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    (tmp_path / "ci.pub").write_bytes(b"not a key")
    refused(get(f"{registry}/acme/web:1.4.2"), 2, "trust-invalid")
    (tmp_path / "ci.pub").unlink()
    refused(get(f"{registry}/acme/web:1.4.2"), 2, "file-unreadable")


def test_the_namespace_of_helm_is_the_context(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path, rule="    when: {namespace: [shop]}\n")
    signed(registry)
    refused(get(f"{registry}/acme/web:1.4.2"), 1, "context-missing")
    monkeypatch.setenv("HELM_NAMESPACE", "default")
    refused(get(f"{registry}/acme/web:1.4.2"), 1, "no-rule")
    monkeypatch.setenv("HELM_NAMESPACE", "shop")
    assert get(f"{registry}/acme/web:1.4.2").data == CHART
    monkeypatch.setenv("VERIFIER_NAMESPACE", "other")
    refused(get(f"{registry}/acme/web:1.4.2"), 1, "no-rule")


def test_helm_s_user_and_password_go_to_the_host_of_the_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with simulated(Switches(basic=("helm", CANARY))) as closed:
        configure(closed.host, monkeypatch, tmp_path)
        refused(get(f"{closed.host}/acme/web:1.4.2"), 3, "unauthorized")
        monkeypatch.setenv("HELM_PLUGIN_USERNAME", "helm")
        monkeypatch.setenv("HELM_PLUGIN_PASSWORD", CANARY)
        refused(get(f"{closed.host}/acme/web:1.4.2"), 3, "not-found")


def test_plain_http_is_a_setting_since_helm_does_not_hand_it_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure("reg.test", monkeypatch, tmp_path)
    monkeypatch.setenv("VERIFIER_PLAIN_HTTP", "perhaps")
    refused(get("reg.test/acme/web:1.4.2"), 2, "config-invalid")
    monkeypatch.setenv("VERIFIER_PLAIN_HTTP", "true")
    refused(get("reg.test/other/web:1.4.2"), 1, "no-rule")


# Helm's own --verify


@pytest.mark.parametrize("form", ["{host}/acme/web-1.4.2.tgz", "{host}/acme/web:1.4.2/web-1.4.2.tgz", "{host}/acme/web@{digest}/web-1.4.2.tgz"])
def test_the_prov_is_handed_over_for_helm_to_verify_too(registry: str, form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    prov = provenance()
    url = form.format(host=registry, digest=signed(registry, prov=prov))
    assert (get(url).data, get(f"{url}.prov").data) == (CHART, prov)


def test_a_prov_that_was_attached_later_is_handed_over(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    digest = signed(registry)
    (tmp_path / "key.asc").write_bytes(pgp().secret)
    assert run("sign", f"oci://{registry}/acme/web@{digest}", "--openpgp-key", str(tmp_path / "key.asc")).status == 0
    ran = get(f"{registry}/acme/web-1.4.2.tgz.prov")
    assert (ran.status, ran.data[:34]) == (0, b"-----BEGIN PGP SIGNED MESSAGE-----")


def test_a_chart_without_a_prov_says_so(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    refused(get(f"{registry}/acme/web-1.4.2.tgz.prov"), 1, "provenance-missing")


def test_the_file_name_must_be_the_chart_s_own(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    digest = signed(registry)
    refused(get(f"{registry}/acme/web@{digest}/web-9.9.9.tgz"), 1, "name-mismatch")
    refused(get(f"{registry}/acme/web:1.4.2/evil-1.4.2.tgz"), 1, "name-mismatch")


# The index


def entries(ran: Ran) -> dict[str, list[str]]:
    assert ran.status == 0, ran.err
    return {name: [item["version"] for item in found] for name, found in json.loads(ran.data)["entries"].items()}


def test_an_index_of_what_the_registry_lists_below_a_path(registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure(registry, monkeypatch, tmp_path)
    signed(registry)
    signed(registry, archive("web", "1.5.0"), tag="1.5.0")
    signed(registry, archive("db", "1.0.0"), name="acme/db", tag="1.0.0")
    signed(registry, archive("deep", "1.0.0"), name="acme/more/deep", tag="1.0.0")
    signed(registry, archive("other", "1.0.0"), name="other/other", tag="1.0.0")
    ran = get(f"{registry}/acme/index.yaml")
    assert entries(ran) == {"web": ["1.5.0", "1.4.2"], "db": ["1.0.0"]}
    for found in json.loads(ran.data)["entries"]["web"]:
        assert get(found["urls"][0].removeprefix("verified+oci://")).status == 0


def test_an_index_of_one_chart_and_of_charts_that_the_policy_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Most hosted registries do not list repositories."""
    with simulated(Switches(status={"/_catalog": 401})) as hosted:
        configure(hosted.host, monkeypatch, tmp_path)
        signed(hosted.host)
        assert entries(get(f"{hosted.host}/acme/web/index.yaml")) == {"web": ["1.4.2"]}
        unknown = get(f"{hosted.host}/acme/index.yaml")
        refused(unknown, 3, "not-found")
        assert f"oci://{hosted.host}/acme/NAME" in unknown.err
        assert "list of repositories" in unknown.err
        configure(hosted.host, monkeypatch, tmp_path, charts="acme/web")
        assert entries(get(f"{hosted.host}/acme/index.yaml")) == {"web": ["1.4.2"]}


@pytest.mark.parametrize("body", [b"[]", b'{"repositories": "acme/web"}', b'{"repositories": [1]}', b"<html>", b'{"repositories": ["acme/../x", "acme/WEB"]}'])
def test_a_list_of_repositories_that_is_nonsense_is_not_followed(body: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with simulated(Switches(body={"/_catalog": body})) as strange:
        configure(strange.host, monkeypatch, tmp_path)
        refused(get(f"{strange.host}/acme/index.yaml"), 3, "not-found")
        assert not [path for path in strange.paths() if "tags/list" in path]


def test_an_index_is_bounded_and_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = json.dumps({"repositories": [f"acme/c{number:03}" for number in range(120)]}).encode()
    with simulated(Switches(body={"/_catalog": names, "/tags/list": b'{"tags": ["1.0.0"]}'})) as large:
        configure(large.host, monkeypatch, tmp_path)
        ran = get(f"{large.host}/acme/index.yaml")
        assert (len(entries(ran)), "120 charts, 100 are listed" in ran.err) == (100, True)


@pytest.mark.parametrize("url", ["reg.test/acme/web", "user:pw@reg.test/acme/web:1", "reg.test/../etc/passwd:1", "reg.test/acme/w\u00e9b:1"])
def test_odd_urls(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configure("reg.test", monkeypatch, tmp_path)
    ran = get(url)
    refused(ran, 2, "reference-invalid")
    assert "pw" not in ran.err
