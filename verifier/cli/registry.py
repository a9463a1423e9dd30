"""`verifier registry serve`, `login` and `logout`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from verifier.cli.listen import listen_address
from verifier.cli.options import echo
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.model.reference import canonical_host


@click.group()
def registry() -> None:
    """Serve the embedded registry; log in to registries."""


@registry.command()
@click.option("--root", required=True, type=click.Path(file_okay=False), help="The directory that holds the repositories.")
@click.option("--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT")
@click.option("--read-only", is_flag=True, help="Refuse everything that writes.")
@click.option("--unsafe-no-auth", is_flag=True, help="UNSAFE: let everyone who can reach it read and write.")
def serve(root: str, listen: str, read_only: bool, unsafe_no_auth: bool) -> None:
    """Serve an OCI registry over image layouts on disk. It has no authentication, so it listens on loopback only."""
    import uvicorn

    from verifier.registry.app import RegistryApp
    from verifier.registry.store import RegistryStore

    host, port = listen_address(listen, open_to_all=unsafe_no_auth)
    store = RegistryStore(Path(root))
    store.prepare()
    echo(f"registry on http://{host}:{port}, data in {root}", err=True)
    uvicorn.run(RegistryApp(store, read_only=read_only), host=host, port=port, log_level="warning", access_log=False)


@registry.command()
@click.argument("host")
@click.option("-u", "--username", required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--registry-config", type=click.Path(dir_okay=False), help="The file to write (Helm's by default).")
def login(host: str, username: str, password_stdin: bool, registry_config: str | None) -> None:
    """Keep the credentials for HOST in Helm's registry file, where `helm` finds them too. They are not tried out."""
    from verifier.oci.credentials import Basic, store
    from verifier.operations.signing import write_new

    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else click.prompt("Password", hide_input=True, err=True)
    if not password:
        raise MisuseError(codes.USAGE, "an empty password")
    path = _config_path(registry_config)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_new(path, store(path, canonical_host(host, written=host), Basic(username, password)), 0o600)
    echo(f"kept      {path}")


@registry.command()
@click.argument("host")
@click.option("--registry-config", type=click.Path(dir_okay=False))
def logout(host: str, registry_config: str | None) -> None:
    """Forget the credentials for HOST."""
    from verifier.oci.credentials import forget
    from verifier.operations.signing import write_new

    path = _config_path(registry_config)
    data = forget(path, canonical_host(host, written=host)) if path.is_file() else None
    if data is None:
        echo(f"nothing to forget in {path}")
        return
    write_new(path, data, 0o600)
    echo(f"forgotten  {host}")


def _config_path(given: str | None) -> Path:
    from verifier.settings import credential_files

    return credential_files(os.environ, given)[0]
