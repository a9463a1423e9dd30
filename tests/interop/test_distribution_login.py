"""Real distribution 2.8.2 and 3.1.1 behind TLS, with passwords and with tokens: what is pushed, signed and verified there, and what is refused."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import secrets
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.interop.conftest import Peer, program
from tests.simulators.registry.answers import error, value
from tests.simulators.registry.login import basic
from tests.simulators.registry.serve import LineHandler, QuietServer, handler_of
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.servers import free_port, serving, start, stop
from tests.support.signers import pair, private_pem
from verifier.signers.public import public_pem

REGISTRIES = ("registry-2.8.2", "registry-3.1.1")
USER, PASSWORD = "robot$acme+ci", "interop-password"
HTPASSWD = f"{USER}:$2b$05$vSsrV0xLQGPSdqE6Hq7m9uJL3Uq3ECkWknEllgt/2NEe8sxRPFb0G\n"  # bcrypt, as `htpasswd -B` writes it
ISSUER, SERVICE = "tokens.acme.test", "registry.acme.test"


@dataclass
class TokenServer:
    """Gives ES256 tokens with the certificate in `x5c`, which both take; `life` is theirs in seconds."""

    authority: trustme.CA
    life: int = 300
    rights: tuple[str, ...] = ("pull", "push", "delete")
    given: list[str] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.issued = self.authority.issue_cert(ISSUER, key_type=trustme.KeyType.ECDSA)
        self.key = serialization.load_pem_private_key(self.issued.private_key_pem.bytes(), None)
        self.x5c = [base64.b64encode(ssl.PEM_cert_to_DER_cert(pem.bytes().decode())).decode() for pem in self.issued.cert_chain_pems]

    def serve(self, handler: LineHandler) -> None:
        asked = handler.asked()
        answer = error(401, "UNAUTHORIZED")
        if asked.headers.get("Authorization") == basic(USER, PASSWORD):
            scopes = [scope for text in parse_qs(asked.query).get("scope", []) for scope in text.split()]
            self.given += scopes
            answer = value({"token": self.token(scopes), "expires_in": self.life})
        handler.say(answer)
        handler.wfile.write(answer.body)

    def token(self, scopes: list[str]) -> str:
        parts = [scope.split(":", 2) for scope in scopes]
        access = [{"type": kind, "name": name, "actions": [item for item in actions.split(",") if item in self.rights]} for kind, name, actions in parts]
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": USER, "aud": SERVICE, "exp": now + self.life, "nbf": now - 1, "iat": now, "jti": secrets.token_hex(8)}
        return jwt.encode({**claims, "access": access}, self.key, "ES256", {"x5c": self.x5c})  # type: ignore[arg-type]


@dataclass
class Stage:
    host: str
    ca_file: Path
    config: Path
    tokens: TokenServer | None

    @property
    def options(self) -> tuple[str, ...]:
        return ("--ca-file", str(self.ca_file), "--registry-config", str(self.config))


@contextlib.contextmanager
def staged(name: str, how: str, work: Path) -> Iterator[Stage]:
    authority = trustme.CA()
    ca_file, certificate, key = work / "ca.pem", work / "tls.crt", work / "tls.key"
    authority.cert_pem.write_to_path(str(ca_file))
    issued = authority.issue_cert("127.0.0.1")
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    with contextlib.ExitStack() as stack:
        tokens = TokenServer(authority) if how == "token" else None
        if tokens is not None:
            server = QuietServer(("127.0.0.1", 0), handler_of({"": tokens}))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            issued.configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            tokens.url = f"https://127.0.0.1:{stack.enter_context(serving(server))}/token"
            about = {"token": {"realm": tokens.url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(ca_file)}}
        else:
            (work / "htpasswd").write_text(HTPASSWD)
            about = {"htpasswd": {"realm": "acme", "path": str(work / "htpasswd")}}
        host = f"127.0.0.1:{free_port()}"
        settings = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(work / "data")}, "delete": {"enabled": True}},
            "http": {"addr": host, "tls": {"certificate": str(certificate), "key": str(key)}},
            "auth": about,
        }
        path = work / "registry.json"
        path.write_text(json.dumps(settings))
        process = start([program(name), "serve", path], f"https://{host}/v2/", work, ca=ca_file)
        stack.callback(stop, process)
        config = work / "config.json"
        config.write_text(json.dumps({"auths": {host: {"auth": basic(USER, PASSWORD).removeprefix("Basic ")}}}))
        yield Stage(host, ca_file, config, tokens)


@pytest.fixture(params=[(name, how) for name in REGISTRIES for how in ("htpasswd", "token")], ids=lambda item: "-".join(item))
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    name, how = request.param
    with staged(name, how, tmp_path) as stage:
        yield stage


def published(stage: Stage, work: Path) -> str:
    (work / "web-1.4.2.tgz").write_bytes(archive())
    (work / "ci.key").write_bytes(private_pem(pair("ci")))
    (work / "ci.pub").write_bytes(public_pem(pair("ci").public))
    ran = run("push", str(work / "web-1.4.2.tgz"), f"oci://{stage.host}/acme", *stage.options)
    assert ran.status == 0, ran.text
    return f"oci://{stage.host}/acme/web@{ran.out.split('digest  ')[1].strip()}"


def test_push_sign_verify_and_copy(stage: Stage, tmp_path: Path) -> None:
    reference = published(stage, tmp_path)
    trusted = ("--key", str(tmp_path / "ci.pub"), *stage.options)
    assert run("verify", reference, *trusted).status == 1
    signed = run("sign", reference, "--key", str(tmp_path / "ci.key"), *stage.options)
    assert signed.status == 0, signed.text
    verified = run("verify", f"oci://{stage.host}/acme/web:1.4.2", *trusted, "--debug")
    assert verified.status == 0, verified.text
    assert PASSWORD not in verified.text
    assert run("inspect", reference, *trusted).out.count("  verified  ") == 1
    assert "verified 1 signature" in run("registry", "list", f"{stage.host}/acme/web", *trusted).out
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: copies}\ntrust: {ci: {key: {file: ci.pub}}}\nrules:\n"
        f'  - {{name: a, charts: ["oci://{stage.host}/acme/*"], require: {{signed: {{by: ci}}}}}}\n'
        f'  - {{name: b, charts: ["oci://{stage.host}/stable/*"], origins: ["oci://{stage.host}/acme/web"], require: {{signed: {{by: ci}}}}}}\n'
    )
    copied = run("copy", f"oci://{stage.host}/acme/web:1.4.2", f"oci://{stage.host}/stable/web", "--policy", str(policy), *stage.options)
    assert copied.status == 0, copied.text
    if stage.tokens is not None:
        assert set(stage.tokens.given) >= {"repository:acme/web:pull", "repository:acme/web:pull,push"}


def test_check_tells_what_they_can_do(stage: Stage, tmp_path: Path) -> None:
    published(stage, tmp_path)
    ran = run("registry", "check", f"{stage.host}/acme/web", "--write", *stage.options)
    assert ran.status == 0, ran.text
    assert f"login       as {USER!r}, by {stage.config}" in ran.out
    assert "note     referrers   the API is not offered" in ran.out
    assert "two were attached and are listed, by the tag sha256-HEX" in ran.out
    assert "what was written is gone" in ran.out
    stage.config.write_text("{}")
    ran = run("registry", "check", f"{stage.host}/acme/web", *stage.options)
    assert (ran.status, "wrong    login" in ran.out) == (1, True)


def test_login_and_logout(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "own" / "config.json"
    for password, status in (("wrong", 3), (PASSWORD, 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(password))
        options = ("--registry-config", str(config), "--ca-file", str(stage.ca_file))
        assert run("registry", "login", stage.host, "-u", USER, "--password-stdin", *options).status == status
    helm = Peer(program("helm-3.21.4"), tmp_path)
    (tmp_path / "web-1.4.2.tgz").write_bytes(archive())
    helm("push", tmp_path / "web-1.4.2.tgz", f"oci://{stage.host}/acme", "--ca-file", stage.ca_file, "--registry-config", config)
    assert "forgotten" in run("registry", "logout", stage.host, "--registry-config", str(config)).out


def test_who_is_not_let_in_is_told_why(stage: Stage, tmp_path: Path) -> None:
    reference = published(stage, tmp_path)
    stage.config.write_text("{}")
    ran = run("verify", reference, "--key", str(tmp_path / "ci.pub"), *stage.options)
    assert (ran.status, "unauthorized" in ran.out) == (3, True)
    stage.config.write_text(json.dumps({"auths": {stage.host: {"auth": basic(USER, "wrong").removeprefix("Basic ")}}}))
    ran = run("verify", reference, "--key", str(tmp_path / "ci.pub"), *stage.options)
    assert (ran.status, "unauthorized" in ran.out) == (3, True)
    ran = run("verify", reference, "--key", str(tmp_path / "ci.pub"), "--registry-config", str(stage.config), "--insecure-skip-tls-verify")
    assert (ran.status, "UNSAFE" in ran.err) == (3, True)


@pytest.mark.parametrize("name", REGISTRIES)
def test_a_token_without_the_right_to_push(name: str, tmp_path: Path) -> None:
    with staged(name, "token", tmp_path) as stage:
        reference = published(stage, tmp_path)
        assert stage.tokens is not None
        stage.tokens.rights = ("pull",)
        ran = run("sign", reference, "--key", str(tmp_path / "ci.key"), *stage.options)
        assert (ran.status, "unauthorized" in ran.err) == (3, True)


@pytest.mark.parametrize("name", REGISTRIES)
def test_a_realm_without_tls_under_a_registry_with_it_gets_nothing(name: str, tmp_path: Path) -> None:
    with staged(name, "token", tmp_path) as stage:
        pass
    settings = json.loads((tmp_path / "registry.json").read_text())
    settings["auth"]["token"]["realm"] = f"http://127.0.0.1:{free_port()}/token"
    (tmp_path / "registry.json").write_text(json.dumps(settings))
    process = start([program(name), "serve", tmp_path / "registry.json"], f"https://{stage.host}/v2/", tmp_path, ca=stage.ca_file)
    try:
        (tmp_path / "web-1.4.2.tgz").write_bytes(archive())
        ran = run("push", str(tmp_path / "web-1.4.2.tgz"), f"oci://{stage.host}/acme", *stage.options)
        assert (ran.status, "auth-refused" in ran.err) == (3, True)
    finally:
        stop(process)
