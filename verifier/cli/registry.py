"""`verifier registry serve`, `check`, `login`, `logout` and `repair`; `list` and `prune` are in `holdings`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from verifier.cli.holdings import list_versions, prune
from verifier.cli.listen import is_loopback, listen_address
from verifier.cli.options import Network, echo, network_options
from verifier.cli.upkeep import backup, collect, verify_storage
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.model.reference import canonical_host

_LOGIN_SECONDS = 30.0


@click.group()
def registry() -> None:
    """Serve the embedded registry; log in to registries, look at what they can do and hold, and keep them in order."""


@registry.command()
@click.option("--root", required=True, type=click.Path(file_okay=False), help="The directory that holds the repositories.")
@click.option("--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT")
@click.option("--read-only", is_flag=True, help="Refuse everything that writes.")
@click.option("--access", type=click.Path(dir_okay=False), help="Who may do what: a RegistryAccess file (docs/registries/embedded.md).")
@click.option("--immutable-tags", "immutable", multiple=True, metavar="PATTERN", help="Tags of repositories that match are never moved or deleted.")
@click.option("--tls-cert", type=click.Path(dir_okay=False), help="Serve TLS with this certificate chain (PEM); read anew when it changes.")
@click.option("--tls-key", type=click.Path(dir_okay=False), help="The certificate's key (PEM).")
@click.option("--unsafe-no-auth", is_flag=True, help="UNSAFE: let everyone who can reach it read and write.")
def serve(root: str, listen: str, unsafe_no_auth: bool, **options: Any) -> None:
    """Serve an OCI registry over image layouts on disk. Without --access it has no authentication, and listens on loopback only."""
    from verifier.registry.access import Gatekeeper
    from verifier.registry.app import RegistryApp
    from verifier.registry.guard import RegistrySettings
    from verifier.registry.store import RegistryStore
    from verifier.server.listeners import Listener, Tls, run

    access, certificate, key = options["access"], options["tls_cert"], options["tls_key"]
    if bool(certificate) != bool(key):
        raise MisuseError(codes.USAGE, "--tls-cert and --tls-key go together")
    host, port = listen_address(listen, open_to_all=unsafe_no_auth or access is not None)
    store = RegistryStore(Path(root))
    store.prepare()
    gatekeeper = Gatekeeper(Path(access)) if access else None
    app = RegistryApp(store, RegistrySettings(read_only=options["read_only"], immutable=options["immutable"], gatekeeper=gatekeeper))
    tls = Tls(certificate=Path(certificate), key=Path(key)) if certificate else None
    if access and tls is None and not is_loopback(host):
        echo("verifier: passwords go over this address in the clear: give --tls-cert, or put TLS in front", err=True)
    echo(f"registry on {'https' if tls else 'http'}://{host}:{port}, data in {root}", err=True)
    run([Listener(host=host, port=port, app=app, tls=tls)])


@registry.command()
@click.argument("host")
@click.option("-u", "--username", required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--no-check", is_flag=True, help="Keep the credentials without trying them out.")
@network_options
def login(host: str, username: str, password_stdin: bool, no_check: bool, network: Network) -> None:
    """Try credentials for HOST and keep them in Helm's registry file, or with the helper that it names.

    There `helm`, `docker` and `oras` find them, too. The password is typed or read from standard input, never given on the command line.
    """
    from verifier.net.deadline import Deadline
    from verifier.oci.credentials import Basic
    from verifier.operations.login import keep, try_login

    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else click.prompt("Password", hide_input=True, err=True)
    if not password:
        raise MisuseError(codes.USAGE, "an empty password")
    name, credential = canonical_host(host, written=host), Basic(username, password)
    tried = False
    if not no_check:
        with network.connected(given=(name, credential)) as connections:
            tried = try_login(name, connections.session, Deadline.after(_LOGIN_SECONDS))
    kept = keep(name, credential, _config_path(network.registry_config), os.environ)
    echo(f"{'logged in' if tried else 'kept'}  {name}")
    echo(f"in         {kept.where}")
    if not tried and not no_check:
        echo(f"note       {name} asks nobody who they are there, so that the password was not tried")


@registry.command()
@click.argument("host")
@click.option("--registry-config", type=click.Path(dir_okay=False), help="The file to write (Helm's by default).")
def logout(host: str, registry_config: str | None) -> None:
    """Forget the credentials for HOST, in the file and with the helper that it names."""
    from verifier.operations.login import drop

    path, name = _config_path(registry_config), canonical_host(host, written=host)
    dropped = drop(name, path, os.environ)
    if dropped is None:
        echo(f"nothing to forget in {path}")
        return
    echo(f"forgotten  {name}")
    echo(f"in         {dropped.where}")


@registry.command()
@click.argument("target", metavar="HOST[/PATH/NAME]")
@click.option("--write", is_flag=True, help="Also try what only writing shows: moving a tag, attaching, deleting. What is written is deleted again.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@network_options
def check(target: str, write: bool, output: str, network: Network) -> int:
    """Say what a registry can do and who you are there: the way to it, TLS, clock, login, pull, push, referrers.

    With --write also whether tags can be moved, whether what is attached is listed, and whether it can be deleted. Exit 0: all is well or noted,
    1: something is wrong, 3: something could not be told.
    """
    from verifier.cli.check import report_check

    return report_check(target, write, output, network)


@registry.command()
@click.argument("target", metavar="REFERENCE")
@click.option("--referrer", "referrers", multiple=True, metavar="DIGEST", help="A manifest that is known to be attached; may be repeated.")
@click.option("--from", "other", metavar="SOURCE", help="Another place that has the chart with what is attached: oci://HOST/PATH/NAME or oci-layout://DIR.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@network_options
def repair(target: str, referrers: tuple[str, ...], other: str | None, dry_run: bool, network: Network) -> int:
    """Restore the list of what is attached to a chart, where a registry without the referrers API lost a part of it.

    What is known: what was attached from here, what --referrer names, and what --from lists; each must be in the registry and say itself that it
    refers to the chart. What only --from still has is copied. Nothing is taken out of the list. Exit 0: all that is known is listed;
    3: something is gone or could not be told.
    """
    from verifier.cli.repair import report_repair

    return report_repair(target, referrers, other, dry_run=dry_run, network=network)


for _command in (list_versions, prune, collect, backup, verify_storage):
    registry.add_command(_command)


def _config_path(given: str | None) -> Path:
    from verifier.settings import credential_files, load_settings

    return credential_files(os.environ, given or load_settings(os.environ).registry_config)[0]
