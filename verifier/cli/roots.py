"""`verifier trust show` and `verifier trust update`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from verifier.cli.debug import debug_option, show_request
from verifier.cli.main import report_error
from verifier.cli.options import echo
from verifier.model import codes
from verifier.model.errors import FailedError, MisuseError
from verifier.report.text import safe
from verifier.settings import load_settings
from verifier.trust.anchors import PUBLIC_GOOD
from verifier.trust.built_in import PUBLIC_GOOD_TUF


@click.group()
def trust() -> None:
    """Show sigstore's trusted roots, and refresh them. Nothing else ever refreshes one."""


@trust.command("show")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
def show(file: str | None) -> None:
    """Show the roots that policies can name, or what the trusted_root.json FILE holds; with age and digest."""
    from verifier.operations.roots import read_root
    from verifier.operations.trust import describe_root, known_roots
    from verifier.policy.document import RootEntry

    stored = load_settings(os.environ).roots
    roots = [read_root(RootEntry(name=Path(file).name, path=file), Path(), None)] if file else known_roots(stored)
    for root in roots:
        for line in describe_root(root):
            echo(safe(line))


@trust.command("update")
@click.option("--name", default=PUBLIC_GOOD, show_default=True, help="The name under which policies speak of the root (`roots:`).")
@click.option("--tuf-url", default=PUBLIC_GOOD_TUF, show_default=True, metavar="URL", help="The TUF repository, for example a mirror of your own.")
@click.option("--tuf-root", type=click.Path(dir_okay=False), help="The root.json that another repository is first trusted with.")
@click.option("--ca-file", type=click.Path(dir_okay=False), help="Trust this CA for the repository, beside the system's.")
@debug_option()
def update(name: str, tuf_url: str, tuf_root: str | None, ca_file: str | None, debug: bool) -> int:
    """Fetch a trusted root through TUF and store it. A repository that does not verify changes nothing."""
    from verifier.net.egress import Egress
    from verifier.net.proxy import read_proxies
    from verifier.net.transport import HttpTransport, TlsSettings
    from verifier.operations.trust import Repository, describe_root, update_root

    if not tuf_url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise MisuseError(codes.USAGE, "a TUF repository is read over https")
    if name == PUBLIC_GOOD and tuf_url != PUBLIC_GOOD_TUF and tuf_root is None:
        raise MisuseError(codes.USAGE, "a mirror needs --tuf-root FILE, or --name for another instance")
    settings = load_settings(os.environ)
    transport = HttpTransport(
        egress=Egress(allow_private=True, proxies=read_proxies(os.environ)),
        tls=TlsSettings(ca_file=ca_file or settings.ca_file),
        observe=show_request if debug else None,
    )
    repository = Repository(name=name, url=tuf_url, root=Path(tuf_root) if tuf_root else None)
    try:
        root = update_root(repository, settings.roots, transport)
    except FailedError as error:
        report_error(error)
        return 1
    finally:
        transport.close()
    for line in describe_root(root):
        echo(safe(line))
    return 0
