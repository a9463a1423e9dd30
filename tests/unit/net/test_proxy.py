"""Proxies: which connections go through one, what it sees, and that no address is promised behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulators.internet import internet
from tests.simulators.registry import simulated
from tests.simulators.registry.serve import RegistrySite
from tests.simulators.registry.state import SimulatedRegistry
from tests.support.cli import run
from tests.support.signers import pair
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress
from verifier.net.proxy import Proxies, Proxy, read_proxies
from verifier.net.transport import HttpTransport, Request, Response, TlsSettings
from verifier.net.web import WebClient
from verifier.signers.public import public_pem

PROXY = Proxy("http://proxy.acme.test:3128")


def test_the_environment_is_read_as_others_read_it() -> None:
    found = read_proxies(
        {"HTTPS_PROXY": "http://me:p%40ss@proxy.acme.test:3128", "http_proxy": "proxy.acme.test", "HTTP_PROXY": "http://unused", "NO_PROXY": " a , b.test"}
    )
    assert found.https == Proxy("http://proxy.acme.test:3128", "Basic bWU6cEBzcw==")
    assert found.http == Proxy("http://proxy.acme.test:80")
    assert found.bypassed == ("a", "b.test")
    assert "bWU6cEBzcw" not in repr(found)
    assert "p@ss" not in repr(found)
    assert read_proxies({}) == Proxies()
    assert read_proxies({"HTTPS_PROXY": "https://[::1]"}).https == Proxy("https://[::1]:443")


@pytest.mark.parametrize("text", ["socks5://proxy:1080", "http://", "http://proxy:port", "http://proxy:99999"])
def test_what_is_no_proxy_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(MisuseError) as caught:
        read_proxies({"HTTPS_PROXY": text.replace("//", "//me:secret@")})
    assert caught.value.code.name == "config-invalid"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "entry, host, port, bypassed",
    [
        ("*", "ghcr.io", 443, True),
        ("ghcr.io", "ghcr.io", 443, True),
        ("ghcr.io", "pkg.ghcr.io", 443, True),
        ("ghcr.io", "notghcr.io", 443, False),
        (".ghcr.io", "ghcr.io", 443, False),
        (".ghcr.io", "pkg.ghcr.io", 443, True),
        ("*.ghcr.io", "pkg.ghcr.io", 443, True),
        ("ghcr.io:443", "ghcr.io", 443, True),
        ("ghcr.io:5000", "ghcr.io", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("[fd00::1]:5000", "[fd00::1]", 5000, True),
        ("fd00::/8", "[fd00::1]", 443, True),
        ("nonsense/33", "10.1.2.3", 443, False),
        ("GHCR.IO", "ghcr.io.", 443, True),
    ],
)
def test_no_proxy(entry: str, host: str, port: int, bypassed: bool) -> None:
    proxies = read_proxies({"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": entry})
    assert (proxies.through("https", host, port) is None) is bypassed


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_loopback_is_never_asked_for_through_a_proxy(host: str) -> None:
    assert Proxies(PROXY, PROXY).through("https", host, 443) is None


def test_each_scheme_has_its_own_proxy() -> None:
    assert Proxies(https=PROXY).through("http", "ghcr.io", 80) is None
    assert Proxies(http=PROXY).through("http", "ghcr.io", 80) == PROXY


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "metadata.google.internal",
        "metadata",
        "10.0.0.1",
        "127.1",
        "0x7f000001",
        "kubernetes",
        "api.svc",
        "db.cluster.local",
        "[fd00::1]",
        "2852039166",
    ],
)
def test_behind_a_proxy_names_and_addresses_of_the_inside_are_refused(host: str) -> None:
    with pytest.raises(InconclusiveError) as caught:
        Egress(allow_private=False, proxies=Proxies(PROXY)).route("https", host, 443)
    assert caught.value.code.name == "egress-denied"


def test_behind_a_proxy_metadata_stays_closed_for_everyone_and_names_can_be_opened() -> None:
    for host in ("169.254.169.254", "metadata.google.internal"):
        with pytest.raises(InconclusiveError):
            Egress(allow_private=True, allowed_hosts=frozenset({host}), proxies=Proxies(PROXY)).route("https", host, 443)
    opened = Egress(allow_private=False, allowed_hosts=frozenset({"registry.svc", "10.0.0.1:443"}), proxies=Proxies(PROXY))
    assert opened.route("https", "registry.svc", 443).proxy == opened.route("https", "10.0.0.1", 443).proxy == PROXY


def test_a_public_name_is_the_proxys_to_resolve() -> None:
    route = Egress(allow_private=False, proxies=Proxies(PROXY)).route("https", "no-such-host.invalid", 443)
    assert (route.address, route.proxy) == ("no-such-host.invalid", PROXY)


def ask(transport: HttpTransport, url: str) -> Response:
    return transport.send(Request(method="GET", url=url), Deadline.after(5), 10_000)


def test_a_tunnel_shows_the_proxy_the_name_only(tmp_path: Path) -> None:
    registry = SimulatedRegistry(name="ghcr.io")
    with internet({"ghcr.io": RegistrySite(registry)}, tmp_path) as net:
        net.password = "me:secret"
        proxies = read_proxies({"HTTPS_PROXY": net.proxy.replace("//", "//me:secret@")})
        lines: list[str] = []
        egress, tls = Egress(allow_private=False, proxies=proxies), TlsSettings(ca_file=str(net.ca_file))
        transport = HttpTransport(egress=egress, tls=tls, observe=lines.append)
        assert ask(transport, "https://ghcr.io/v2/").status == 200
        assert ask(transport, "https://ghcr.io/v2/").status == 200
        assert net.tunnels == ["ghcr.io:443"]  # the tunnel is kept
        assert all("Proxy-Authorization" not in headers for _, _, headers in registry.requests)
        assert "through the proxy" in lines[0]
        assert "secret" not in "".join(lines)
        assert WebClient(egress=egress, tls=tls).get("https://ghcr.io/v2/", [("a", "b")], {}, Deadline.after(5)).status == 200
        assert all("Proxy-Authorization" not in headers for _, _, headers in registry.requests)
        transport.close()


def test_without_tls_the_proxy_reads_the_url(tmp_path: Path) -> None:
    with simulated() as registry, internet({"ghcr.io": RegistrySite(registry)}, tmp_path) as net:
        net.password = "me:secret"
        url = f"http://plain.acme.test:{registry.host.rpartition(':')[2]}/v2/"
        for proxies, status in ((read_proxies({"HTTP_PROXY": net.proxy.replace("//", "//me:secret@")}), 200), (read_proxies({"HTTP_PROXY": net.proxy}), 407)):
            egress = Egress(allow_private=True, proxies=proxies)
            transport = HttpTransport(egress=egress)
            assert ask(transport, url).status == status
            assert WebClient(egress=egress, tls=TlsSettings()).get(url, [], {}, Deadline.after(5)).status == status
            transport.close()
        assert net.tunnels == [url] * 4


def test_a_proxy_that_refuses_or_is_not_there(tmp_path: Path) -> None:
    with internet({"ghcr.io": RegistrySite(SimulatedRegistry())}, tmp_path) as net:
        egress = Egress(allow_private=False, proxies=read_proxies({"HTTPS_PROXY": net.proxy}))
        tls = TlsSettings(ca_file=str(net.ca_file))
        net.refuse = 403
        with pytest.raises(InconclusiveError, match="403") as caught:
            ask(HttpTransport(egress=egress, tls=tls), "https://ghcr.io/v2/")
        assert caught.value.code.name == "proxy-failed"
        with pytest.raises(InconclusiveError, match="403") as caught:
            WebClient(egress=egress, tls=tls).get("https://ghcr.io/token", [], {}, Deadline.after(5))
        assert caught.value.code.name == "proxy-failed"
        net.refuse = 0
        with pytest.raises(InconclusiveError) as caught:
            ask(HttpTransport(egress=egress), "https://ghcr.io/v2/")  # behind the tunnel it is the registry's certificate that counts
        assert caught.value.code.name == "tls-failed"
    with pytest.raises(InconclusiveError) as caught:
        ask(HttpTransport(egress=egress, tls=tls), "https://ghcr.io/v2/")
    assert caught.value.code.name == "proxy-failed"


def test_the_server_says_that_a_proxy_stands_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.server.listeners.run", lambda listeners: None)
    (tmp_path / "ci.pub").write_bytes(public_pem(pair("ci").public))
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: x}\ntrust: {ci: {key: {file: ci.pub}}}\n"
        "rules: [{name: a, charts: ['oci://a.test/*'], require: {signed: {by: ci}}}]\n"
    )
    words = ("serve", "--policy", str(policy), "--listen", "127.0.0.1:0")
    assert "a proxy" not in run(*words).err
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.acme.test:3128")
    said = run(*words)
    assert said.status == 0, said.text
    assert "addresses of registries are not pinned" in said.err
