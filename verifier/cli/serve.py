"""`verifier serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from verifier.cli.listen import listen_address
from verifier.cli.options import echo
from verifier.model.context import Context
from verifier.net.transport import TlsSettings
from verifier.settings import load_settings

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
def serve(policy: str, listen: str, callers: str | None, unsafe_no_auth: bool, **options: object) -> None:
    """Serve decisions over HTTP: POST /v1/verify, /healthz, /readyz, /metrics, /openapi.json."""
    import uvicorn

    from verifier.server.build import ServerSettings, build_app
    from verifier.server.service import ServiceSettings

    sys.setswitchinterval(_SWITCH_SECONDS)
    host, port = listen_address(listen, open_to_all=unsafe_no_auth or callers is not None)
    app = build_app(
        ServerSettings(
            policy=policy,
            callers=Path(callers) if callers else None,
            context=Context(environment=_text(options["environment"]), cluster=_text(options["cluster"]), asserted_by="server"),
            allowed_hosts=frozenset(options["allow_host"]),  # type: ignore[call-overload]
            plain_http=bool(options["plain_http"]),
            tls=TlsSettings(ca_file=_text(options["ca_file"])),
            registry_config=_text(options["registry_config"]),
            service=ServiceSettings(slots=int(str(options["slots"])), seconds=float(str(options["timeout"])), helm=load_settings(os.environ).helm),
        )
    )
    if unsafe_no_auth:
        echo("verifier: UNSAFE: --unsafe-no-auth is on; whoever reaches this address may ask", err=True)
    echo(f"decisions on {'https' if options['tls_cert'] else 'http'}://{host}:{port}/v1/verify", err=True)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        ssl_certfile=_text(options["tls_cert"]),
        ssl_keyfile=_text(options["tls_key"]),
    )


def _text(value: object) -> str | None:
    return str(value) if value else None
