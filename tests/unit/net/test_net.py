"""Egress, transport and subprocesses: SSRF, slow and oversized answers, broken connections (threats T-14, T-15)."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.simulators.registry import Switches, simulated
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress
from verifier.net.process import run_program
from verifier.net.transport import HttpTransport, Request, TlsSettings, masked, origin_of
from verifier.net.web import WebClient


def refused(egress: Egress, host: str) -> str:
    with pytest.raises(InconclusiveError) as caught:
        egress.judge(host, 443)
    return caught.value.code.name


CLOSED, OPEN = Egress(allow_private=False), Egress(allow_private=True)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.170.2",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "224.0.0.1",
        "[::]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::1]",
        "0xa9fea9fe",
        "2852039166",
    ],
)
def test_metadata_and_link_local_are_refused_always(host: str) -> None:
    assert refused(CLOSED, host) == "egress-denied"
    assert refused(OPEN, host) == "egress-denied"
    assert refused(Egress(allow_private=False, allowed_hosts=frozenset({host})), host) == "egress-denied"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "[fd00::1]", "0x7f000001", "127.1"])
def test_private_addresses_are_refused_on_a_server_unless_named(host: str) -> None:
    assert refused(CLOSED, host) == "egress-denied"
    assert OPEN.judge(host, 443)
    assert Egress(allow_private=False, allowed_hosts=frozenset({host})).judge(host, 443)
    assert Egress(allow_private=False, allowed_hosts=frozenset({f"{host}:443"})).judge(host, 443)
    assert refused(Egress(allow_private=False, allowed_hosts=frozenset({f"{host}:5000"})), host) == "egress-denied"


def test_public_addresses_and_unknown_names() -> None:
    assert CLOSED.judge("93.184.216.34", 443) == "93.184.216.34"
    assert refused(CLOSED, "no-such-host.invalid") == "unreachable"
    assert refused(CLOSED, "a" * 300) == "unreachable"


def test_a_name_with_one_bad_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    assert refused(CLOSED, "rebinding.test") == "egress-denied"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    assert refused(CLOSED, "nothing.test") == "unreachable"


def get(url: str, seconds: float = 5.0, limit: int = 10_000, transport: HttpTransport | None = None, **headers: str) -> bytes:
    transport = transport or HttpTransport(egress=OPEN)
    try:
        return transport.send(Request(method="GET", url=url, headers=headers), Deadline.after(seconds), limit).body
    finally:
        transport.close()


def failed(url: str, seconds: float = 5.0, limit: int = 10_000, transport: HttpTransport | None = None) -> InconclusiveError:
    with pytest.raises(InconclusiveError) as caught:
        get(url, seconds, limit, transport)
    return caught.value


def test_limits_and_truncation() -> None:
    with simulated(Switches(body={"big": b"x" * 5000, "cut": b"x" * 100}, truncate="cut")) as registry:
        assert failed(f"http://{registry.host}/big", limit=4999).code.name == "response-limit"
        assert len(get(f"http://{registry.host}/big", limit=5000)) == 5000
        assert failed(f"http://{registry.host}/cut").code.name == "unreachable"


def test_a_server_that_drips_is_cut_off() -> None:
    with simulated(Switches(body={"slow": b"x" * 1000}, drip="slow")) as registry:
        started = time.monotonic()
        assert failed(f"http://{registry.host}/slow", seconds=0.5).code.name == "timeout"
        assert time.monotonic() - started < 5


@contextmanager
def raw_server(answer: bytes, pause: float = 0.0) -> Iterator[str]:
    """Answers anything with these bytes, then nothing, byte by byte if `pause` says so."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                try:
                    for index in range(len(answer)):
                        connection.sendall(answer[index : index + 1] if pause else answer)
                        if not pause:
                            break
                        time.sleep(pause)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(2)


def test_headers_that_never_end_are_cut_off() -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1000, pause=0.05) as url:
        started = time.monotonic()
        assert failed(url, seconds=0.6).code.name == "timeout"
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("answer", [b"", b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_what_is_no_http(answer: bytes) -> None:
    with raw_server(answer) as url:
        assert failed(url).code.name == "unreachable"


def test_nothing_is_decompressed() -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc") as url:
        assert get(url) == b"abc"


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert failed(f"http://127.0.0.1:{port}/").code.name == "unreachable"
    assert failed("http://127.0.0.1:1/", seconds=0).code.name == "timeout"


def test_egress_holds_for_transport_and_token_calls() -> None:
    closed = HttpTransport(egress=CLOSED)
    assert failed("http://127.0.0.1:1/", transport=closed).code.name == "egress-denied"
    with pytest.raises(InconclusiveError) as caught:
        WebClient(egress=CLOSED, tls=TlsSettings()).get("http://169.254.169.254/latest", [], {}, Deadline.after(1))
    assert caught.value.code.name == "egress-denied"


def test_a_name_is_judged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []

    class Counting(Egress, frozen=True):
        def judge(self, host: str, port: int) -> str:
            judged.append(host)
            return super().judge(host, port)

    with simulated(Switches(body={"x": b"y"})) as registry:
        transport = HttpTransport(egress=Counting(allow_private=True))

        def ask() -> bytes:
            return transport.send(Request(method="GET", url=f"http://{registry.host}/x"), Deadline.after(5), 10).body

        assert ask() == ask() == b"y"
        assert len(judged) == 1
        monkeypatch.setattr("verifier.net.transport._ADDRESS_SECONDS", -1.0)
        monkeypatch.setattr("verifier.net.transport._ORIGINS", 1)
        transport.close()
        assert ask() == ask() == b"y"
        assert len(judged) == 3
        transport.close()
    with pytest.raises(InconclusiveError):
        ask()
    before = len(judged)
    with pytest.raises(InconclusiveError):
        ask()
    assert len(judged) == before + 1, "a connection that failed is looked up again"
    transport.close()


def test_what_is_seen_is_masked() -> None:
    lines: list[str] = []
    with simulated(Switches(body={"x": b"y"})) as registry:
        get(f"http://{registry.host}/x?X-Amz-Signature=secret", transport=HttpTransport(egress=OPEN, observe=lines.append), Authorization="Bearer secret")
    assert lines
    assert "secret" not in "".join(lines)
    assert masked("GET http://h/p?digest=sha256:aa -> 200") == "GET http://h/p?digest=sha256:aa -> 200"
    assert origin_of("https://h/p") == "https://h:443"


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def tls_server(authority: trustme.CA, name: str = "127.0.0.1", *, client: bool = False) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    data = secure.recv(4096)
                    if data.startswith(b"POST") and data.endswith(b"\r\n\r\n"):
                        secure.recv(4096)  # closing with an unread body would reset the connection under the client
                    secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(2)


def test_tls(authority: trustme.CA, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    trusting = TlsSettings(ca_file=str(ca))
    with tls_server(authority) as url:
        assert get(url, transport=HttpTransport(egress=OPEN, tls=trusting)) == b"ok"
        assert failed(url).code.name == "tls-failed"
        assert get(url, transport=HttpTransport(egress=OPEN, tls=TlsSettings(verify=False))) == b"ok"
        web = WebClient(egress=OPEN, tls=trusting)
        assert web.get(url, [("a", "b")], {}, Deadline.after(5)).body == b"ok"
        assert web.post(url, {"a": "b"}, Deadline.after(5)).status == 200
        with pytest.raises(InconclusiveError) as caught:
            WebClient(egress=OPEN, tls=TlsSettings()).get(url, [], {}, Deadline.after(5))
        assert caught.value.code.name == "tls-failed"
    with tls_server(authority, "other.test") as url:
        assert failed(url, transport=HttpTransport(egress=OPEN, tls=trusting)).code.name == "tls-failed"


def test_client_certificates(authority: trustme.CA, tmp_path: Path) -> None:
    ca, cert, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(str(ca))
    issued = authority.issue_cert("client.test")
    cert.write_bytes(issued.cert_chain_pems[0].bytes())
    issued.private_key_pem.write_to_path(str(key))
    with tls_server(authority, client=True) as url:
        assert get(url, transport=HttpTransport(egress=OPEN, tls=TlsSettings(ca_file=str(ca), cert_file=str(cert), key_file=str(key)))) == b"ok"
        assert failed(url, transport=HttpTransport(egress=OPEN, tls=TlsSettings(ca_file=str(ca)))).code.name in ("tls-failed", "unreachable")
    with pytest.raises(MisuseError) as caught:
        HttpTransport(egress=OPEN, tls=TlsSettings(ca_file=str(tmp_path / "missing")))
    assert caught.value.code.name == "config-invalid"


def test_token_servers_that_do_not_answer() -> None:
    web = WebClient(egress=OPEN, tls=TlsSettings())
    with simulated(Switches(body={"big": b"x" * 300_000, "slow": b"x" * 1000}, drip="slow")) as registry:
        for path, code in (("big", "response-limit"), ("slow", "timeout")):
            with pytest.raises(InconclusiveError) as caught:
                web.get(f"http://{registry.host}/{path}", [], {}, Deadline.after(0.6))
            assert caught.value.code.name == code
    with pytest.raises(InconclusiveError) as caught:
        web.get(f"http://{registry.host}/", [], {}, Deadline.after(1))
    assert caught.value.code.name == "unreachable"


def test_programs() -> None:
    done = run_program([sys.executable, "-c", "import sys; print(sys.stdin.read()); sys.exit(3)"], stdin=b"hi", seconds=20, environment={})
    assert (done.status, done.stdout.strip()) == (3, b"hi")
    with pytest.raises(MisuseError) as caught:
        run_program(["no-such-program-anywhere"], stdin=b"", seconds=1, environment={})
    assert caught.value.code.name == "tool-missing"
    with pytest.raises(InconclusiveError) as slow:
        run_program([sys.executable, "-c", "import time; time.sleep(30)"], stdin=b"", seconds=0.3, environment={})
    assert slow.value.code.name == "timeout"
    with pytest.raises(MisuseError) as caught:
        run_program(["/"], stdin=b"", seconds=1, environment={})
    assert caught.value.code.name == "tool-missing"
