"""Who keeps keys for others: AWS KMS, Google Cloud KMS, Azure Key Vault, Vault's transit engine and a Kubernetes API, on loopback.

Each does the real cryptography, checks what it is asked as the real one would (who asks, how the question is written), and can
answer wrongly on purpose. They share nothing with `verifier.signers`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from tests.support.servers import serving

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
HASHES: dict[int, hashes.HashAlgorithm] = {32: hashes.SHA256(), 48: hashes.SHA384(), 64: hashes.SHA512()}


@dataclass
class Question:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body or b"{}")
        return found


@dataclass
class Answer:
    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Keeper:
    """A running stand-in: keys by name, each a list of versions; what was asked; and what it does wrongly."""

    answer: Callable[[Keeper, Question], Answer]
    keys: dict[str, list[Private]] = field(default_factory=dict)
    url: str = ""
    asked: list[str] = field(default_factory=list)
    refusal: Answer | None = None  # whatever is asked
    nonsense: bool = False  # 200 and a page
    forge: Private | None = None  # signs with this key in place of the one that is meant

    def sign(self, private: Private, digest: bytes) -> bytes:
        """Over a digest: DER for ECDSA, PKCS#1 v1.5 for RSA."""
        return sign_digest(self.forge or private, digest)


def sign_digest(private: Private, digest: bytes) -> bytes:
    algorithm = utils.Prehashed(HASHES[len(digest)])
    match private:
        case ec.EllipticCurvePrivateKey():
            return private.sign(digest, ec.ECDSA(algorithm))
        case rsa.RSAPrivateKey():
            return private.sign(digest, padding.PKCS1v15(), algorithm)


def verifies(private: Private, signature: bytes, digest: bytes) -> bool:
    algorithm = utils.Prehashed(HASHES[len(digest)])
    try:
        match private:
            case ec.EllipticCurvePrivateKey():
                private.public_key().verify(signature, digest, ec.ECDSA(algorithm))
            case rsa.RSAPrivateKey():
                private.public_key().verify(signature, digest, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


def public_bytes(private: Private, encoding: serialization.Encoding) -> bytes:
    return private.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


def certified(directory: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for `host`, and the file with the CA that vouches for it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context, directory / "ca.pem"


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def kept(answer: Callable[[Keeper, Question], Answer], *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Keeper]:
    """Serve on a free port of loopback until the end."""
    keeper = Keeper(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            question = Question(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            keeper.asked.append(f"{self.command} {self.path.partition('?')[0]}")
            if keeper.nonsense:
                self.reply(200, {"Content-Type": "text/html"}, b"<html>welcome</html>")
                return
            try:
                said = keeper.refusal or keeper.answer(keeper, question)
            except Exception as error:  # told to the client, where the test sees it
                said = Answer(500, {"errors": [repr(error)], "message": repr(error)})
            self.reply(said.status, {"Content-Type": "application/json", **said.headers}, json.dumps(said.body).encode())

        def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with serving(server) as port:
        keeper.url = f"{'https' if tls else 'http'}://{host}:{port}"
        yield keeper


def set_all(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> dict[str, str]:
    """Put an environment in place for this test; returns it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment
