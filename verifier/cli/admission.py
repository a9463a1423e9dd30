"""`verifier admission`: what registers the webhook with a cluster, and which kinds of objects it reads."""

from __future__ import annotations

import click

from verifier.cli.options import echo
from verifier.model import codes, limits
from verifier.model.errors import MisuseError


@click.group()
def admission() -> None:
    """The admission webhook of Kubernetes: its registration, and the kinds of objects that it reads."""


@admission.command()
@click.option("--ca-file", required=True, type=click.Path(dir_okay=False), help="The CA of the webhook's own certificate (PEM).")
@click.option("--service", metavar="NAMESPACE/NAME", help="The Service at which it answers, on port 443.")
@click.option("--url", metavar="URL", help="Where it answers, for one outside of the cluster.")
@click.option("--name", default="helm-verifier", show_default=True, help="Of the ValidatingWebhookConfiguration.")
@click.option("--pin", is_flag=True, help="Register the mutating webhook, too; the server then runs with --pinning pin.")
@click.option("--unjudged", multiple=True, metavar="NAMESPACE", help="Nothing in this namespace is judged; take the webhook's own, so that it can be repaired.")
@click.option("--unjudged-records", multiple=True, metavar="NAMESPACE", help="Helm's own releases in this namespace are not judged.")
def webhooks(ca_file: str, service: str | None, url: str | None, name: str, pin: bool, unjudged: tuple[str, ...], unjudged_records: tuple[str, ...]) -> None:
    """Print the webhook's registration, for `kubectl apply -f -`: fail closed, all kinds, release records among Secrets only.

    With --pin also that of the mutating webhook, which writes digests.
    """
    from pathlib import Path

    from verifier.formats.yaml import dump_yaml
    from verifier.operations.resolve import read_local
    from verifier.operations.webhooks import Endpoint, mutating, validating

    namespace, slash, service_name = (service or "").partition("/")
    if bool(url) == bool(service) or (service and not (slash and namespace and service_name)):
        raise MisuseError(codes.USAGE, "give --service NAMESPACE/NAME or --url https://...")
    if url and not url.startswith("https://"):
        raise MisuseError(codes.USAGE, "the API server calls webhooks over https:// only")
    authority = read_local(Path(ca_file), limits.KEYRING_BYTES)
    if b"-----BEGIN CERTIFICATE-----" not in authority:
        raise MisuseError(codes.TRUST_INVALID, "no certificate in it", where=ca_file)
    endpoint = Endpoint(authority=authority, url=url, service=(namespace, service_name) if service else None)
    echo(dump_yaml(validating(endpoint, name, unjudged=unjudged, unjudged_records=unjudged_records)).rstrip())
    if pin:
        echo("---")
        echo(dump_yaml(mutating(endpoint, name, unjudged=unjudged)).rstrip())


@admission.command()
def kinds() -> None:
    """List the kinds of objects that are read, and what of them can be pinned."""
    from verifier.workloads.kinds import READERS

    for reader in READERS:
        echo(f"{reader.group}/{','.join(reader.versions)} {reader.kind}")
        echo(f"  checked  {reader.checked}")
        echo(f"  pin      {reader.pin}")
