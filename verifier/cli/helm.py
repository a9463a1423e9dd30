"""`verifier helm`: Helm's getter and plugin, and Helm's own commands on verified bytes."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from verifier.cli.options import Network, command_context, decision_options, echo, warn_unsafe
from verifier.cli.resident import resident
from verifier.cli.verify import exit_code
from verifier.model import codes
from verifier.model.context import Context
from verifier.model.errors import MisuseError
from verifier.oci.credentials import Basic
from verifier.operations.policies import LoadedPolicy
from verifier.report.text import explain, safe
from verifier.settings import load_settings

if TYPE_CHECKING:
    from verifier.helm.arguments import Arguments


@click.group()
def helm() -> None:
    """Helm's plugin and getter, and Helm's commands on verified bytes."""


@helm.command(hidden=True)
@click.argument("cert_file")
@click.argument("key_file")
@click.argument("ca_file")
@click.argument("url")
def get(cert_file: str, key_file: str, ca_file: str, url: str) -> int:
    """What Helm runs for verified+oci://: decide, and print the verified bytes; denied: the reason on stderr, and nothing else."""
    from verifier.helm.asked import IndexAsked, read_url
    from verifier.operations.helm_get import get_chart, get_index

    asked = read_url(url)
    registry = asked.registry if isinstance(asked, IndexAsked) else asked.reference.registry
    network = _network(cert_file or None, key_file or None, ca_file or None)
    loaded = configured_policy(network)
    with network.connected(quiet=True, given=_helm_credential(registry)) as connections:
        if isinstance(asked, IndexAsked):
            handed = get_index(asked, loaded, connections, decision_options(()))
        else:
            handed = get_chart(asked, helm_context(), loaded, connections, decision_options(()))
    for note in (*handed.notes, *(handed.decision.warnings if handed.decision is not None and handed.data is not None else ())):
        echo(f"verifier: {safe(note)}", err=True)
    if handed.data is None:
        assert handed.decision is not None
        echo(explain(handed.decision, quiet=True), err=True)
        return exit_code(handed.decision)
    sys.stdout.buffer.write(handed.data)
    return 0


@helm.command("install-plugin")
@click.option("--helm", "program", metavar="PROGRAM", help="The Helm whose plugin is written, instead of the one in PATH.")
@click.option("--plugins", type=click.Path(file_okay=False), help="Write there, instead of the directory that Helm names.")
@click.option("--form", type=click.Choice(["helm3", "helm4", "both"]), help="Which Helms read it, instead of the one that was asked.")
def install_plugin(program: str | None, plugins: str | None, form: str | None) -> None:
    """Write or update Helm's plugin and getter for the Python that runs this, and say what was done.

    Helm 3 gets one plugin, Helm 4 two; where both use one directory, a pair that both read.
    """
    from verifier import __version__
    from verifier.helm.plugin import Form
    from verifier.helm.program import Helm
    from verifier.operations.plugin_install import install_plugin as install

    asked = Helm(program or load_settings(os.environ).helm, os.environ)
    installed = install(asked, __version__, sys.executable, form=Form(form) if form else None, plugins=Path(plugins) if plugins else None)
    for name, action in installed.done.items():
        echo(f"{action:<10}{safe(str(installed.plugins / name))}")
    echo(f"for       {safe(installed.helm)} (form {installed.form.value})")
    echo(f"python    {safe(installed.interpreter)}")


@helm.command("package-plugin")
@click.option("-d", "--destination", default=".", show_default=True, type=click.Path(file_okay=False), help="Where to write the archives.")
@click.option("--openpgp-key", metavar="KEY", help="Also write the .prov that `helm plugin install` of Helm 4 asks for.")
@click.option("--passphrase-file", type=click.Path(dir_okay=False), help="The key's passphrase (first line), instead of VERIFIER_PASSWORD.")
def package_plugin(destination: str, openpgp_key: str | None, passphrase_file: str | None) -> None:
    """Write the plugin as archives for a release: two for Helm 4, one for Helm 3; byte for byte the same every time."""
    from verifier import __version__
    from verifier.charts.packaging import DEFAULT_EPOCH
    from verifier.cli.publish import source_date_epoch
    from verifier.helm.plugin import package_plugins
    from verifier.operations.signing import write_new

    sign = None
    if openpgp_key is not None:
        from verifier.cli.sign import openpgp_signer

        sign = openpgp_signer(openpgp_key, passphrase_file)
    packages = package_plugins(__version__, epoch=source_date_epoch(DEFAULT_EPOCH))
    signed = [sign(package.statement) for package in packages] if sign is not None else [None] * len(packages)
    Path(destination).mkdir(parents=True, exist_ok=True)
    for package, provenance in zip(packages, signed, strict=True):
        path = Path(destination) / package.file
        write_new(path, package.data)
        echo(f"packaged  {path}  {package.digest}")
        if provenance is not None:
            write_new(path.with_name(f"{path.name}.prov"), provenance)
            echo(f"signed    {path}.prov")


helm.add_command(resident)
_PASSED_ON: dict[str, Any] = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


@helm.command(hidden=True, context_settings=_PASSED_ON)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def plugin(words: tuple[str, ...]) -> int:
    """What Helm runs for `helm verifier ...`: Helm's own commands on verified bytes, and everything else as `verifier` does it."""
    from verifier.cli.main import main
    from verifier.operations.helm_run import COMMANDS

    if words and words[0] in COMMANDS:
        return _wrapped(words[0], words[1:])
    _take_over(os.environ)
    status = main.main(list(words), prog_name="helm verifier", standalone_mode=False)
    return status if isinstance(status, int) else 0


def _take_over(environment: MutableMapping[str, str]) -> None:
    """Helm keeps --namespace and --debug for itself and hands them on as variables."""
    if environment.get("HELM_NAMESPACE"):
        environment.setdefault("VERIFIER_NAMESPACE", environment["HELM_NAMESPACE"])
    if environment.get("HELM_DEBUG") == "true":
        environment.setdefault("VERIFIER_DEBUG", "true")


def _command(name: str) -> click.Command:
    @click.command(name, context_settings=_PASSED_ON, help=f"Run `helm {name}` on a chart that the policy allows, on exactly the bytes that were verified.")
    @click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[HELM'S ARGUMENTS]")
    def command(words: tuple[str, ...]) -> int:
        return _wrapped(name, words)

    return command


for _name in ("install", "upgrade", "template"):
    helm.add_command(_command(_name))


_OWN_FLAGS = ("policy", "environment", "cluster")


def _wrapped(command: str, words: tuple[str, ...]) -> int:
    """Helm's command on verified bytes."""
    from verifier.helm.arguments import Flag, read_arguments, read_flags
    from verifier.helm.program import Helm
    from verifier.model.context import Request
    from verifier.net.process import run_attached
    from verifier.operations.helm_get import verify_with_provenance
    from verifier.operations.helm_run import read_command, run_verified

    if {"-h", "--help"} & set(words):
        echo(_HELP.format(command=command))
        return 0
    program = Helm(os.environ.get("HELM_BIN") or load_settings(os.environ).helm, os.environ)
    own = [Flag(name, takes_value=True) for name in _OWN_FLAGS]
    arguments = read_arguments(words, read_flags(program.ask(command, "--help"), own))
    wrapped = read_command(command, arguments)
    network = _network(arguments.value("cert-file"), arguments.value("key-file"), arguments.value("ca-file"))
    network = replace(
        network,
        plain_http=arguments.is_on("plain-http"),
        insecure_skip_tls_verify=arguments.is_on("insecure-skip-tls-verify"),
        registry_config=arguments.value("registry-config"),
        debug=network.debug or arguments.is_on("debug"),
    )
    loaded = configured_policy(network, arguments.value("policy"))
    unsafe = network.unsafe + wrapped.unsafe
    warn_unsafe(unsafe)
    request = Request(reference=wrapped.chart, context=helm_context(arguments))
    with network.connected() as connections:
        decision, provenance = verify_with_provenance(request, loaded, connections, decision_options(unsafe))
    if not decision.allowed:
        echo(explain(decision, quiet=True), err=True)
        return exit_code(decision)
    for warning in decision.warnings:
        echo(f"verifier: {safe(warning)}", err=True)
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    return run_verified(wrapped, decision, provenance, lambda line: run_attached([program.program, *line], environment=environment))


_SECRETS = ("VERIFIER_PASSWORD", "COSIGN_PASSWORD", "VERIFIER_REGISTRY_PASSWORD")
_HELP = """Usage: verifier helm {command} [HELM'S ARGUMENTS] [--policy POLICY] [--environment NAME] [--cluster NAME]

  Run `helm {command}` on a chart that the policy allows, on exactly the bytes that were verified.

  CHART is oci://HOST/PATH/NAME:VERSION, ...@sha256:HEX, https://HOST/PATH/NAME:VERSION for a chart repository (or NAME with
  --repo URL), or a .tgz; --version may say an exact version. All of Helm's own flags may be given, but for those that fetch
  something else: --dependency-update, --devel.
  The policy comes from --policy, VERIFIER_POLICY or the user's configuration. Denied: Helm is not run, exit 1; unknown: exit 3."""


def configured_policy(network: Network, given: str | None = None) -> LoadedPolicy:
    """The policy of a flag, the environment or the user's configuration; raises MisuseError `no-policy`."""
    from verifier.cli.trust import load_written

    path = given or load_settings(os.environ).policy
    if not path:
        raise MisuseError(codes.NO_POLICY, "no policy is configured: set VERIFIER_POLICY, or `policy:` in ~/.config/verifier/verifier.yaml")
    return load_written(path, network)


def helm_context(arguments: Arguments | None = None) -> Context:
    """What rules may select on: the namespace that Helm installs into, the rest from flags of ours or the environment."""

    def value(flag: str, *variables: str) -> str | None:
        given = arguments.value(flag) if arguments is not None else None
        return given or next((os.environ[name] for name in variables if os.environ.get(name)), None)

    namespace = value("namespace", "VERIFIER_NAMESPACE", "HELM_NAMESPACE")
    return command_context(value("environment", "VERIFIER_ENVIRONMENT"), value("cluster", "VERIFIER_CLUSTER"), namespace)


def _network(cert_file: str | None, key_file: str | None, ca_file: str | None) -> Network:
    return Network(
        plain_http=False,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        insecure_skip_tls_verify=False,
        registry_config=None,
        debug=os.environ.get("HELM_DEBUG") == "true",
    )


def _helm_credential(registry: str) -> tuple[str, Basic] | None:
    """What `--username` and `--password` of Helm say; for the URL's own host, since Helm knows no other."""
    username, password = os.environ.get("HELM_PLUGIN_USERNAME"), os.environ.get("HELM_PLUGIN_PASSWORD")
    return (registry, Basic(username, password)) if username and password else None
