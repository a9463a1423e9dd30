"""Installing Helm's plugin: the form that the Helm reads, written beside its others, and tried out.

1. Ask Helm for its version and its plugin directory; the form follows, unless it is given. Where the other Helm's form lies there
   already, both share the directory, and the form that both read is written.
2. What lies under our names and is not ours is left alone, and said so.
3. Write beside the directory; start the launcher from there, and have Helm read it there: a plugin that it cannot read would make each of
   its commands complain.
4. Put each in its place by renaming.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from verifier.helm.plugin import CLI, GETTER, INTERPRETER, LAUNCHER, Form, executable, plugin_files
from verifier.helm.program import Helm
from verifier.model import codes
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.net.process import run_program

_SECONDS = 60.0
_OTHER = {Form.HELM3: Form.HELM4, Form.HELM4: Form.HELM3}


class Installed(Struct, frozen=True, kw_only=True):
    """What was done: plugin directory -> "written", "updated", "unchanged" or "removed"."""

    form: Form
    helm: str
    plugins: Path
    interpreter: str
    done: Mapping[str, str]


def install_plugin(helm: Helm, version: str, interpreter: str, *, form: Form | None = None, plugins: Path | None = None) -> Installed:
    """Write or update the plugin of `helm`; raises MisuseError `plugin-foreign`, `plugin-broken`, `tool-missing` or `write-failed`."""
    major = helm.version().numbers[0]  # 1
    place = plugins or helm.plugins()
    present = {name: _present(place / name) for name in (CLI, GETTER)}  # 2
    chosen = form or _form(major, present[CLI])
    wanted = {name: {**files, INTERPRETER: f"{interpreter}\n".encode()} for name, files in plugin_files(chosen, version).items()}
    done = {name: _action(place / name, wanted.get(name), present[name]) for name in (CLI, GETTER)}
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".verifier-plugin-", dir=place.parent) as staging:  # 3
            fresh = [name for name, action in done.items() if action in ("written", "updated")]
            for name in fresh:
                _write(Path(staging) / name, wanted[name])
                _try(Path(staging) / name / LAUNCHER)
            _check_listed(Helm(helm.program, {**helm.environment, "HELM_PLUGINS": staging}), fresh)
            for name, action in done.items():  # 4
                _put(Path(staging), place, name, action)
    except OSError as error:
        raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=str(place)) from error
    return Installed(form=chosen, helm=helm.program, plugins=place, interpreter=interpreter, done={name: action for name, action in done.items() if action})


def _present(directory: Path) -> Form | None:
    """The form that lies there, None for nothing; raises MisuseError `plugin-foreign` for what is not ours."""
    if not directory.exists() and not directory.is_symlink():
        return None
    description = directory / "plugin.yaml"
    if directory.is_symlink() or not description.is_file() or not (directory / LAUNCHER).is_file():
        raise MisuseError(codes.PLUGIN_FOREIGN, "there is another plugin, or a link to one", where=str(directory))
    text = description.read_text("utf-8", "replace")
    if "apiVersion: v1" in text:
        return Form.HELM4
    return Form.HELM3 if "downloaders:" in text and directory.name == CLI else Form.BOTH


def _form(major: int, present: Form | None) -> Form:
    """1: what this Helm reads, and both where the other's lies there."""
    own = Form.HELM3 if major == 3 else Form.HELM4
    return Form.BOTH if present in (Form.BOTH, _OTHER[own]) else own


def _action(directory: Path, wanted: Mapping[str, bytes] | None, present: Form | None) -> str:
    if wanted is None:
        return "removed" if present is not None else ""
    if present is None:
        return "written"
    same = all((directory / path).is_file() and (directory / path).read_bytes() == data for path, data in wanted.items())
    return "unchanged" if same else "updated"


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if executable(path) else 0o644)


def _try(launcher: Path) -> None:
    """3: in an empty environment and from the root directory, as nothing of either may matter."""
    try:
        done = run_program([str(launcher), "plugin", "--version"], stdin=b"", seconds=_SECONDS, environment={})
    except InconclusiveError as error:
        raise MisuseError(codes.PLUGIN_BROKEN, error.reason) from error
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise MisuseError(codes.PLUGIN_BROKEN, f"the launcher ended with {done.status}: {said}")


def _put(staging: Path, place: Path, name: str, action: str) -> None:
    """Between the two renames a Helm that starts would not find the plugin, and would refuse verified+oci://."""
    if action in ("updated", "removed"):
        (place / name).rename(staging / f"old-{name}")
    if action in ("written", "updated"):
        (staging / name).rename(place / name)


def _check_listed(helm: Helm, names: Sequence[str]) -> None:
    try:
        listed = {line.split()[0] for line in helm.ask("plugin", "list").splitlines() if line.split()}
    except MisuseError as error:
        raise MisuseError(codes.PLUGIN_BROKEN, error.reason, where=helm.program) from error
    if missing := [name for name in names if name not in listed]:
        raise MisuseError(codes.PLUGIN_BROKEN, f"`helm plugin list` does not show {', '.join(missing)}", where=helm.program)
