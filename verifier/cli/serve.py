"""`verifier serve`."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from verifier.cli.debug import debug_option, show_request
from verifier.cli.listen import listen_address
from verifier.cli.options import echo
from verifier.model import codes
from verifier.model.context import Context
from verifier.model.errors import MisuseError
from verifier.net.proxy import NO_PROXIES, read_proxies
from verifier.net.transport import TlsSettings
from verifier.settings import load_settings, parse_mirror

if TYPE_CHECKING:
    from verifier.server.build import ServerSettings
    from verifier.server.listeners import Tls

# Most threads wait for registries; one that has its answer should not wait 5 ms for its turn (measured: a fifth more decisions).
_SWITCH_SECONDS = 0.001


@click.command()
@click.option(
    "--policy",
    required=True,
    envvar="VERIFIER_POLICY",
    type=click.Path(),
    help="The policy to hold charts to: a file, a directory of them, or oci://HOST/PATH:TAG.",
)
@click.option("--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT")
@click.option("--callers", type=click.Path(dir_okay=False), help="Who may call: hashed bearer tokens and what context each may claim.")
@click.option("--unsafe-no-auth", is_flag=True, help="UNSAFE: listen beyond loopback without asking who calls.")
@click.option("--tls-cert", type=click.Path(dir_okay=False), help="Serve TLS with this certificate (PEM).")
@click.option("--tls-key", type=click.Path(dir_okay=False), help="The certificate's key (PEM).")
@click.option("--allow-host", multiple=True, metavar="HOST[:PORT]", help="A registry on a private or loopback address that may be asked.")
@click.option("--plain-http", is_flag=True, help="Speak HTTP without TLS to registries (loopback ones need no flag).")
@click.option("--ca-file", type=click.Path(dir_okay=False), help="Trust this CA for registries, beside the system's.")
@click.option("--registry-config", type=click.Path(dir_okay=False), help="Credentials file in Docker's format.")
@click.option("--environment", help="Where this server stands; rules may select on it.")
@click.option("--cluster", help="Where this server stands; rules may select on it.")
@click.option("--slots", default=16, show_default=True, type=click.IntRange(1, 512), help="Decisions in hand at once.")
@click.option("--timeout", default=8.0, show_default=True, type=click.FloatRange(0.1, 300.0), help="Seconds to an answer.")
@click.option("--admission", type=click.Choice(["enforce", "warn", "audit"]), help="Be an admission webhook, too: /admission/validate. What a denial does.")
@click.option("--webhook-listen", metavar="HOST:PORT", help="Another address for the webhook alone, with TLS and --client-ca.")
@click.option("--client-ca", type=click.Path(dir_okay=False), help="Who calls the webhook's address has a certificate of this CA (PEM).")
@click.option(
    "--store",
    metavar="FILE|postgresql://USER@HOST/NAME",
    help="Keep decisions in this SQLite file, or in a database that servers share; what cannot be kept is not allowed. GET /v1/decisions reads them.",
)
@click.option("--keep-days", default=90, show_default=True, type=click.IntRange(1, 3650), help="How long decisions stay in the store.")
@click.option("--mirror", multiple=True, metavar="ORIGIN=MIRROR", help="Read what is of ORIGIN (oci://HOST[/PATH]) from MIRROR; tags stay the origin's.")
@click.option("--log/--no-log", default=True, show_default=True, help="Tell each answer on stderr, as a line of JSON.")
@click.option("--rate", default=0.0, show_default=True, type=click.FloatRange(0.0), help="Questions a second that each caller may ask; 0 sets no limit.")
@click.option("--kubernetes", is_flag=True, help="Look up what objects refer to, by KUBECONFIG or the cluster around us.")
@click.option(
    "--pull-secret",
    "pull_secrets",
    multiple=True,
    metavar="NAME",
    help="With --kubernetes: show registries the pull secret of this name in the object's namespace; '*' means all that lie there.",
)
@click.option("--events", is_flag=True, help="With --kubernetes: write an Event for what is denied.")
@click.option(
    "--pinning",
    type=click.Choice(["validate-only", "require-pinned", "pin"]),
    default="validate-only",
    show_default=True,
    help="Of objects without a digest: a rule may let them pass; no rule may; or /admission/mutate writes it.",
)
@debug_option()
def serve(policy: str, listen: str, callers: str | None, unsafe_no_auth: bool, **options: Any) -> None:
    """Serve decisions over HTTP: POST /v1/verify, /healthz, /readyz, /metrics, /openapi.json; and the admission webhook."""
    from verifier.server.build import build_app
    from verifier.server.listeners import Listener, WebhookOnly, run

    sys.setswitchinterval(_SWITCH_SECONDS)
    host, port = listen_address(listen, open_to_all=unsafe_no_auth or callers is not None)
    tls, webhook = _tls(options), _webhook_address(options, unsafe_no_auth)
    if options["events"] and not (options["kubernetes"] and options["admission"]):
        raise MisuseError(codes.USAGE, "--events goes with --admission and --kubernetes")
    if options["pull_secrets"] and not options["kubernetes"]:
        raise MisuseError(codes.USAGE, "--pull-secret goes with --kubernetes, where Secrets are")
    app = build_app(_settings(policy, callers, options))
    if read_proxies(os.environ) != NO_PROXIES:
        echo("verifier: a proxy is configured: it resolves names, so that the addresses of registries are not pinned, and its rules count", err=True)
    if unsafe_no_auth:
        echo("verifier: UNSAFE: --unsafe-no-auth is on; whoever reaches this address may ask", err=True)
    listeners = [Listener(host=host, port=port, app=app, tls=tls)]
    echo(f"decisions on {'https' if tls is not None else 'http'}://{host}:{port}/v1/verify", err=True)
    if webhook is not None and tls is not None:
        authority = Path(options["client_ca"]) if options["client_ca"] else None
        own = WebhookOnly(app, authenticated=authority is not None)
        listeners.append(Listener(host=webhook[0], port=webhook[1], app=own, tls=replace(tls, client_ca=authority), lifespan=False))
        echo(f"admission on https://{webhook[0]}:{webhook[1]}/admission/validate", err=True)
    run(listeners)


def _settings(policy: str, callers: str | None, options: dict[str, Any]) -> ServerSettings:
    from verifier.server.admission import AdmissionSettings
    from verifier.server.build import ServerSettings
    from verifier.server.decider import ServiceSettings

    seconds = options["timeout"]
    return ServerSettings(
        policy=policy,
        callers=Path(callers) if callers else None,
        context=Context(environment=options["environment"] or None, cluster=options["cluster"] or None, asserted_by="server"),
        allowed_hosts=frozenset(options["allow_host"]),
        plain_http=options["plain_http"],
        tls=TlsSettings(ca_file=options["ca_file"]),
        registry_config=options["registry_config"],
        mirrors=tuple(parse_mirror(text) for text in options["mirror"]),
        service=ServiceSettings(
            slots=options["slots"],
            seconds=seconds,
            helm=load_settings(os.environ).helm,
            always_pinned=options["pinning"] == "require-pinned",
            keep=timedelta(days=options["keep_days"]),
        ),
        admission=AdmissionSettings(seconds=seconds, mode=options["admission"], pins=options["pinning"] == "pin") if options["admission"] else None,
        kubernetes=options["kubernetes"],
        events=options["events"],
        pull_secrets=options["pull_secrets"],
        log=options["log"],
        rate=options["rate"],
        store=options["store"] or None,
        observe=show_request if options["debug"] else None,
    )


def _tls(options: dict[str, Any]) -> Tls | None:
    from verifier.server.listeners import Tls

    if bool(options["tls_cert"]) != bool(options["tls_key"]):
        raise MisuseError(codes.USAGE, "--tls-cert and --tls-key go together")
    return Tls(certificate=Path(options["tls_cert"]), key=Path(options["tls_key"])) if options["tls_cert"] else None


def _webhook_address(options: dict[str, Any], unsafe_no_auth: bool) -> tuple[str, int] | None:
    """Beyond loopback whoever calls shows a certificate, or it is spelled out (semantics 35)."""
    written = options["webhook_listen"]
    if not written:
        if options["client_ca"]:
            raise MisuseError(codes.USAGE, "--client-ca goes with --webhook-listen: probes and people have no certificate")
        return None
    if not options["admission"] or not options["tls_cert"]:
        raise MisuseError(codes.USAGE, "--webhook-listen takes --admission, --tls-cert and --tls-key: the API server speaks TLS only")
    return listen_address(written, open_to_all=unsafe_no_auth or options["client_ca"] is not None)
