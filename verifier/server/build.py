"""From settings to an application."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from msgspec import Struct, field
from msgspec.structs import replace

from verifier.kube.cluster import connect
from verifier.model import codes, limits
from verifier.model.context import Context
from verifier.model.errors import InconclusiveError
from verifier.model.reference import SCHEME
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress
from verifier.net.proxy import read_proxies
from verifier.net.transport import HttpTransport, Observer, TlsSettings
from verifier.net.web import WebClient
from verifier.oci.cache import ContentCache
from verifier.oci.cloud import CloudLogins
from verifier.oci.keychain import Credentials
from verifier.oci.mirror import read_mirrors
from verifier.oci.session import Session, SessionSettings
from verifier.operations.connections import Connections
from verifier.operations.namespaces import NamespaceSecrets
from verifier.operations.policies import load
from verifier.operations.scanning import RESOURCES
from verifier.server.admission import AdmissionSettings, Gate
from verifier.server.app import AppSettings, create_app
from verifier.server.callers import Callers, load_callers
from verifier.server.decider import ServiceSettings
from verifier.server.events import Events
from verifier.server.log import Log
from verifier.server.oidc import Issuers
from verifier.server.service import DecisionService, Surroundings
from verifier.server.snapshot import Snapshots
from verifier.server.tracing import is_wanted
from verifier.settings import credential_files, load_settings

if TYPE_CHECKING:
    from verifier.store.decisions import DecisionStore

_REFETCH_SECONDS = 60.0
_ISSUER_SECONDS = 5.0
_CACHE_BYTES = 48 * limits.MIB


class ServerSettings(Struct, frozen=True, kw_only=True):
    """What `verifier serve` was told."""

    policy: str | Path
    callers: Path | None = None
    context: Context = field(default_factory=lambda: Context(asserted_by="server"))
    allowed_hosts: frozenset[str] = frozenset()
    plain_http: bool = False
    tls: TlsSettings = field(default_factory=TlsSettings)
    mirrors: tuple[tuple[str, str], ...] = ()
    registry_config: str | None = None
    service: ServiceSettings = field(default_factory=ServiceSettings)
    admission: AdmissionSettings | None = None
    kubernetes: bool = False
    events: bool = False
    pull_secrets: tuple[str, ...] = ()
    store: str | None = None
    log: bool = False
    rate: float = 0.0
    observe: Observer | None = None


def build_app(settings: ServerSettings) -> FastAPI:
    """The application, with its policy loaded; raises MisuseError.

    Private addresses are refused unless their host is allowed by name: what a caller writes into a reference must not make
    this service talk to what only it can reach.
    """
    egress = Egress(allow_private=False, allowed_hosts=settings.allowed_hosts, proxies=read_proxies(os.environ))
    transport = HttpTransport(egress=egress, tls=settings.tls, observe=settings.observe)
    files = credential_files(os.environ, settings.registry_config or load_settings(os.environ).registry_config)
    clouds = CloudLogins(os.environ, lambda: WebClient(egress=egress, tls=settings.tls, observe=settings.observe))
    credentials = Credentials(files, environment=os.environ, clouds=clouds)
    loopback_tls = bool(settings.tls.ca_file)
    about = SessionSettings(egress=egress, tls=settings.tls, plain_http=settings.plain_http, loopback_tls=loopback_tls, observe=settings.observe)
    session = Session(transport, credentials, about)
    connections = Connections(session, ContentCache(_CACHE_BYTES), read_mirrors(settings.mirrors or load_settings(os.environ).mirrors))
    callers = _callers(settings)
    store = _store(settings.store) if settings.store is not None else None
    cluster = connect(os.environ, settings.service.seconds / 2, RESOURCES) if settings.kubernetes else None
    around = Surroundings(store=store, log=Log(quiet=not settings.log), secrets=NamespaceSecrets(cluster, settings.pull_secrets))
    service = DecisionService(_snapshots(settings.policy, connections), connections, settings.service, around)
    served = AppSettings(rate=settings.rate, traced=is_wanted(os.environ))
    if settings.admission is None:
        return create_app(service, callers, settings.context, settings=served)
    events = Events(cluster) if cluster is not None and settings.events else None
    gate = Gate(service=service, callers=callers, context=settings.context, cluster=cluster, settings=settings.admission, events=events)
    return create_app(service, callers, settings.context, gate, served)


def _store(where: str) -> DecisionStore:
    from verifier.store.decisions import open_store  # a fifth of a second, for those who keep decisions

    return open_store(where)


def _callers(settings: ServerSettings) -> Callers:
    """With a way to their issuers' keys, where there are any."""
    callers = load_callers(settings.callers) if settings.callers else Callers()
    if not callers.issuer_hosts:
        return callers
    hosts = settings.allowed_hosts | callers.issuer_hosts
    egress = Egress(allow_private=False, allowed_hosts=hosts, proxies=read_proxies(os.environ))
    client = WebClient(egress=egress, tls=settings.tls, observe=settings.observe)

    def fetch(url: str) -> bytes:
        response = client.get(url, [], {"Accept": "application/json"}, Deadline.after(_ISSUER_SECONDS))
        if response.status != 200:
            raise InconclusiveError(codes.UNREACHABLE, f"{url[:200]} answers {response.status}")
        return response.body

    return replace(callers, issuers=Issuers(fetch))


def _snapshots(policy: str | Path, connections: Connections) -> Snapshots:
    """Of files, or of a policy in a registry, which is asked with the service's own credentials and egress rules."""
    found = load_settings(os.environ)
    if not str(policy).startswith(SCHEME):
        return Snapshots(lambda: load(Path(policy), found.roots))
    from verifier.operations.remote_policy import configured, load_remote

    remote = configured(str(policy), found.policy_trust, found.policies, found.roots)
    return Snapshots(lambda: load_remote(remote, connections), every=_REFETCH_SECONDS)
