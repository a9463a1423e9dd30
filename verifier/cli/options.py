"""Options that many commands share, and the connections that they describe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import click
from msgspec import Struct

from verifier.ci.registry import registry_login
from verifier.cli import progress
from verifier.cli.debug import debug_option, show_request
from verifier.model import codes
from verifier.model.context import Context
from verifier.model.errors import MisuseError
from verifier.model.reference import AnyReference, canonical_host, parse, parse_origin
from verifier.net.egress import Egress
from verifier.net.proxy import read_proxies
from verifier.net.transport import HttpTransport, Observer, TlsSettings
from verifier.net.web import WebClient
from verifier.oci.cloud import CloudLogins
from verifier.oci.credentials import Basic
from verifier.oci.journal import FileJournal
from verifier.oci.keychain import Credentials
from verifier.oci.mirror import read_mirrors
from verifier.oci.repository_logins import RepositoryLogins
from verifier.oci.session import Session, SessionSettings
from verifier.operations.connections import Connections
from verifier.operations.gather import EvidenceFiles
from verifier.operations.verification import Options
from verifier.settings import credential_files, load_settings, parse_mirror, repositories_file

_F = TypeVar("_F", bound=Callable[..., Any])


class Network(Struct, frozen=True, kw_only=True):
    """What the network options say."""

    plain_http: bool
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    insecure_skip_tls_verify: bool
    registry_config: str | None
    debug: bool
    mirror: tuple[str, ...] = ()

    @property
    def unsafe(self) -> tuple[str, ...]:
        """The switches that stand in every decision that they touched."""
        return ("insecure-skip-tls-verify",) if self.insecure_skip_tls_verify else ()

    @contextmanager
    def connected(self, *, quiet: bool = False, given: tuple[str, Basic] | None = None) -> Iterator[Connections]:
        """Connections for this command, closed at its end; unless `quiet`, a slow one shows its progress on a terminal.

        `given` is a host and the credential for it alone; without one, what the environment says.
        """
        with ExitStack() as stack:
            observe = show_request if self.debug else None
            if observe is not None:  # Helm's own commands come without our option, and --debug of theirs counts, too
                from verifier.net.overheard import overheard

                stack.enter_context(overheard(observe))
            if observe is None and not quiet and progress.wanted():
                observe = stack.enter_context(progress.shown()).note
            connections = self._connect(observe, given or _given_credential())
            stack.callback(connections.close)
            yield connections

    def _connect(self, observe: Observer | None, given: tuple[str, Basic] | None) -> Connections:
        """The person asking may reach their own network, but never metadata services."""
        settings = load_settings(os.environ)
        tls = TlsSettings(ca_file=self.ca_file or settings.ca_file, cert_file=self.cert_file, key_file=self.key_file, verify=not self.insecure_skip_tls_verify)
        egress = Egress(allow_private=True, proxies=read_proxies(os.environ))
        transport = HttpTransport(egress=egress, tls=tls, observe=observe)
        files = credential_files(os.environ, self.registry_config or settings.registry_config)
        clouds = CloudLogins(os.environ, lambda: WebClient(egress=egress, tls=tls, observe=observe))
        credentials = Credentials(files, given=given, environment=os.environ, jobs=job_credentials(os.environ), clouds=clouds)
        plain_http = self.plain_http or settings.plain_http
        loopback_tls = bool(tls.ca_file or tls.cert_file or self.insecure_skip_tls_verify) and not plain_http
        about = SessionSettings(
            egress=egress,
            tls=tls,
            plain_http=plain_http,
            loopback_tls=loopback_tls,
            observe=observe,
            journal=FileJournal(settings.journal),
            warned=_warned,
        )
        session = Session(transport, credentials, about)
        mirrors = read_mirrors(tuple(parse_mirror(text) for text in self.mirror) or settings.mirrors)
        return Connections(session, mirrors=mirrors, repository_logins=RepositoryLogins(repositories_file(os.environ)))


def network_options(command: _F) -> _F:
    """Add the network options; the command gets them as `network`."""
    return grouped(command, "network", Network, _NETWORK)


def grouped(command: _F, name: str, kind: type[Struct], options: tuple[Callable[[Any], Any], ...]) -> _F:
    """Add `options`; the command gets their values as one `kind` under `name`."""

    def wrapped(**values: Any) -> Any:
        return command(**{name: kind(**{field: values.pop(field) for field in kind.__struct_fields__})}, **values)

    wrapped.__name__ = command.__name__
    wrapped.__doc__ = command.__doc__
    wrapped.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


_NETWORK = (
    click.option("--plain-http", is_flag=True, help="Speak HTTP without TLS (loopback registries need no flag)."),
    click.option("--ca-file", type=click.Path(dir_okay=False), help="Trust this CA for the registry, beside the system's."),
    click.option("--cert-file", type=click.Path(dir_okay=False), help="Client certificate (PEM)."),
    click.option("--key-file", type=click.Path(dir_okay=False), help="The client certificate's key (PEM)."),
    click.option("--insecure-skip-tls-verify", is_flag=True, help="UNSAFE: do not check the registry's certificate."),
    click.option("--registry-config", type=click.Path(dir_okay=False), help="Credentials file in Docker's format."),
    click.option("--mirror", multiple=True, metavar="ORIGIN=MIRROR", help="Read what is of ORIGIN (oci://HOST[/PATH]) from MIRROR; tags stay the origin's."),
    debug_option(),
)


def context_options(command: _F) -> _F:
    """Add --environment, --cluster and --namespace."""
    for name in ("namespace", "cluster", "environment"):
        variable = f"VERIFIER_{name.upper()}"
        command = click.option(f"--{name}", envvar=variable, help=f"The {name} that rules may select on (or {variable}).")(command)
    return command


def command_context(environment: str | None, cluster: str | None, namespace: str | None) -> Context:
    """The context that the command line vouches for."""
    return Context(environment=environment, cluster=cluster, namespace=namespace, asserted_by="command-line")


def decision_options(unsafe: tuple[str, ...], files: EvidenceFiles | None = None) -> Options:
    """What the command line adds to a question; Helm is the one that is configured, or the one in PATH."""
    return Options(files=files or EvidenceFiles(), unsafe=unsafe, helm=load_settings(os.environ).helm)


def read_reference(text: str, standing_for: str | None = None) -> AnyReference:
    """Parse a target, and what it stands for; raises MisuseError."""
    from verifier.operations.verification import asserted

    return asserted(parse(text), parse_origin(standing_for) if standing_for else None)


def use_colour(no_colour: bool) -> bool:
    """Colour only on a terminal, and not where NO_COLOR says otherwise."""
    return not no_colour and sys.stdout.isatty() and "NO_COLOR" not in os.environ


def echo(text: str = "", *, err: bool = False) -> None:
    """Print; text of ours only, what comes from outside goes through report.text.safe first."""
    click.echo(text, err=err)


def warn_unsafe(unsafe: tuple[str, ...]) -> None:
    """Danger is spelled out, each time."""
    for name in unsafe:
        click.echo(f"verifier: UNSAFE: --{name} is on", err=True)


def _given_credential() -> tuple[str, Basic] | None:
    """A credential for the one host that it names; it is never offered to another."""
    username, password = os.environ.get("VERIFIER_REGISTRY_USERNAME"), os.environ.get("VERIFIER_REGISTRY_PASSWORD")
    if not username or not password:
        return None
    host = os.environ.get("VERIFIER_REGISTRY_HOST")
    if not host:
        raise MisuseError(codes.CONFIG_INVALID, "VERIFIER_REGISTRY_HOST must say which registry the user name and password are for")
    return canonical_host(host, written=host), Basic(username, password)


def job_credentials(environment: Mapping[str, str]) -> dict[str, Basic]:
    """What a CI system gives its jobs for its own registry."""
    found = registry_login(environment)
    return {canonical_host(found[0], written=found[0]): Basic(found[1], found[2])} if found is not None else {}


def _warned(line: str) -> None:
    from verifier.report.text import safe

    click.echo(f"verifier: {safe(line)}", err=True)
