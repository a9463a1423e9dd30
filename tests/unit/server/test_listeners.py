"""`verifier serve` as a webhook: two addresses, client certificates, and certificates that change while it runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import trustme

from tests.support.cli import run
from tests.support.servers import free_port, start
from tests.support.signers import pair
from verifier.signers.public import public_pem

POLICY = """\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {name: test}
trust: {ci: {key: {file: ci.pub}}}
rules: [{name: ours, charts: ["oci://reg.test/acme/*"], require: {signed: {by: ci}}}]
"""


def issue(authority: trustme.CA, work: Path, name: str) -> None:
    """A certificate and its key, replaced as a mounted Secret is."""
    issued = authority.issue_cert("127.0.0.1")
    for suffix, data in (("pem", b"".join(item.bytes() for item in issued.cert_chain_pems)), ("key", issued.private_key_pem.bytes())):
        (work / f"{name}.new").write_bytes(data)
        (work / f"{name}.new").replace(work / f"{name}.{suffix}")


def context(authority: trustme.CA, client: Path | None = None) -> ssl.SSLContext:
    found = ssl.create_default_context()
    authority.configure_trust(found)
    if client is not None:
        found.load_cert_chain(client.with_suffix(".pem"), client.with_suffix(".key"))
    return found


def serial(port: int, tls: ssl.SSLContext) -> int:
    import socket

    with socket.create_connection(("127.0.0.1", port), 5) as raw, tls.wrap_socket(raw, server_hostname="127.0.0.1") as wrapped:
        found = wrapped.getpeercert()
        assert found is not None
        return int(str(found["serialNumber"]), 16)


def test_addresses_certificates_and_their_change(tmp_path: Path) -> None:
    server, clients, strangers = trustme.CA(), trustme.CA(), trustme.CA()
    issue(server, tmp_path, "hook")
    issue(clients, tmp_path, "api")
    issue(strangers, tmp_path, "other")
    clients.cert_pem.write_to_path(str(tmp_path / "clients.pem"))
    server.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "ci.pub").write_bytes(public_pem(pair().public))
    (tmp_path / "policy.yaml").write_text(POLICY)
    own, hook = free_port(), free_port()
    words = ["serve", "--policy", "policy.yaml", "--listen", f"127.0.0.1:{own}", "--admission", "enforce", "--tls-cert", "hook.pem", "--tls-key", "hook.key"]
    command = [sys.executable, "-m", "verifier", *words, "--webhook-listen", f"127.0.0.1:{hook}", "--client-ca", "clients.pem"]
    process = start(command, f"https://127.0.0.1:{own}/healthz", tmp_path, ca=tmp_path / "ca.pem")
    try:
        known, unknown, none = (context(server, path) for path in (tmp_path / "api", tmp_path / "other", None))
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).encode()
        with pytest.raises(urllib.error.HTTPError) as answered:
            urllib.request.urlopen(f"https://127.0.0.1:{hook}/admission/validate", data=body, context=known)
        assert answered.value.code == 422, "it was heard, and is no review"
        answered.value.close()
        for tls in (unknown, none):
            with pytest.raises((urllib.error.URLError, OSError)):
                urllib.request.urlopen(f"https://127.0.0.1:{hook}/admission/validate", data=body, context=tls)
        for path in ("/metrics", "/v1/verify"):
            with pytest.raises(urllib.error.HTTPError) as answered:
                urllib.request.urlopen(f"https://127.0.0.1:{hook}{path}", context=known)
            assert answered.value.code == 404
            answered.value.close()
        first = serial(own, none)
        shutil.copy(tmp_path / "other.key", tmp_path / "hook.key")
        time.sleep(1.5)
        assert serial(own, none) == first, "a pair that does not fit changes nothing"
        issue(server, tmp_path, "hook")
        for _ in range(50):
            if serial(own, none) != first:
                break
            time.sleep(0.1)
        assert serial(own, none) != first
        assert serial(hook, known) == serial(own, none)
    finally:
        process.send_signal(signal.SIGTERM)
        ended = process.wait(20)
    assert ended in (0, -signal.SIGTERM, 143), (tmp_path / f"{Path(sys.executable).name}.log").read_text()
    assert "does not load, the old one stays" in (tmp_path / f"{Path(sys.executable).name}.log").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("--webhook-listen", "127.0.0.1:1"),
        ("--webhook-listen", "127.0.0.1:1", "--admission", "enforce"),
        ("--client-ca", "x.pem", "--admission", "enforce"),
        ("--tls-cert", "x.pem"),
        ("--admission", "enforce", "--webhook-listen", "0.0.0.0:1", "--tls-cert", "a.pem", "--tls-key", "a.key"),
        ("--admission", "enforce", "--kubernetes"),
        ("--admission", "enforce", "--events"),
        ("--tls-cert", "missing.pem", "--tls-key", "missing.key"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_misuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "KUBECONFIG", str(tmp_path / "missing"))
    (tmp_path / "ci.pub").write_bytes(public_pem(pair().public))
    (tmp_path / "policy.yaml").write_text(POLICY)
    ran = run("serve", "--policy", "policy.yaml", "--listen", "127.0.0.1:0", *words)
    assert (ran.status, any(code in ran.err for code in ("[usage]", "[unsafe-listen]", "[config-invalid]"))) == (2, True), ran.text
