"""Names on loopback: sites behind one TLS front, and a proxy that is the only way to them.

with internet({"ghcr.io": RegistrySite(registry)}, tmp_path) as net:
    net.environment     HTTPS_PROXY for whoever shall reach the names
    net.ca_file         the CA that vouches for all of them

So a program meets the very names, certificates, realms and redirects that it meets outside, and nothing leaves the machine.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from tests.simulators.registry.answers import Answer
from tests.simulators.registry.serve import LineHandler, QuietServer, Site, handler_of
from tests.support.servers import serving


@dataclass
class Internet:
    """`tunnels` are the names that the proxy was asked for, in order."""

    proxy: str
    ca_file: Path
    sites: dict[str, Site]
    front: int = 0
    password: str = ""  # user:password that the proxy wants
    refuse: int = 0  # a status that it refuses everything with
    tunnels: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """All names go through the proxy."""
        return {"HTTPS_PROXY": self.proxy, "NO_PROXY": ""}


@contextlib.contextmanager
def internet(sites: Mapping[str, Site], work: Path) -> Iterator[Internet]:
    """These names, until the block ends; a site under "" takes all others that a certificate was made for."""
    authority = trustme.CA()
    ca_file = work / "internet-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    front = QuietServer(("127.0.0.1", 0), handler_of(sites))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(name for name in sites if name)).configure_cert(context)
    front.socket = context.wrap_socket(front.socket, server_side=True, do_handshake_on_connect=False)
    net = Internet(proxy="", ca_file=ca_file, sites=dict(sites))
    with serving(front) as port, serving(QuietServer(("127.0.0.1", 0), _proxy(net))) as proxy:
        net.front, net.proxy = port, f"http://127.0.0.1:{proxy}"
        yield net


def _proxy(net: Internet) -> type[LineHandler]:
    class Proxy(LineHandler):
        def do_CONNECT(self) -> None:  # noqa: N802  # http.server's names
            net.tunnels.append(self.path)
            if (refusal := self.refusal(self.path.rpartition(":")[0])) is not None:
                self.say(refusal)
                return
            with socket.create_connection(("127.0.0.1", net.front)) as there:
                self.send_response_only(200)
                self.end_headers()
                self.wfile.flush()
                back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
                back.start()
                _pump(self.connection, there)
                back.join(5)
            self.close_connection = True

        def do_GET(self) -> None:  # noqa: N802
            """Without a tunnel the whole URL is asked for; every name is loopback, at its port."""
            net.tunnels.append(self.path)
            split = urlsplit(self.path)
            refusal = self.refusal("", plain=True)
            if refusal is None:
                with urllib.request.urlopen(split._replace(netloc=f"127.0.0.1:{split.port}").geturl(), timeout=5) as found:
                    refusal = Answer(found.status, found.read(), {"Content-Type": found.headers["Content-Type"]})
            self.say(refusal)
            self.wfile.write(refusal.body)

        def refusal(self, name: str, *, plain: bool = False) -> Answer | None:
            wanted = "Basic " + base64.b64encode(net.password.encode()).decode()
            if net.password and self.headers.get("Proxy-Authorization") != wanted:
                return Answer(407, b"", {"Proxy-Authenticate": 'Basic realm="proxy"'})
            if net.refuse:
                return Answer(net.refuse)
            return None if plain or name in net.sites else Answer(502)

    return Proxy


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
