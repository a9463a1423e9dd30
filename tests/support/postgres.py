"""A real PostgreSQL on loopback, for the time of a block; its user `keeper` has a password."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.servers import free_port

PASSWORD = "keepers-password"


@dataclass(frozen=True)
class Postgres:
    """A server that runs; databases are made by `database`."""

    work: Path
    port: int
    programs: Path
    owner: str | None

    def database(self, name: str) -> str:
        """The URL of a new database."""
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "keeper", name)
        return f"postgresql://keeper@127.0.0.1:{self.port}/{name}"

    def run(self, program: str, *words: str) -> str:
        environment = {"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, "HOME": str(self.work), "LC_ALL": "C"}
        done = subprocess.run([self.programs / program, *words], capture_output=True, text=True, env=environment, user=self.owner, cwd=self.work, timeout=90)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        words = f"-p {self.port} -h 127.0.0.1 -k {self.work} -c fsync=off"
        self.run("pg_ctl", "-D", str(self.work / "data"), "-w", "-l", str(self.work / "log"), "-o", words, "start")

    def stop(self, how: str = "fast") -> None:
        self.run("pg_ctl", "-D", str(self.work / "data"), "-m", how, "-w", "stop")


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Skips the test where PostgreSQL is not installed; in CI it must be."""
    programs = _programs()
    if programs is None:
        if os.environ.get("VERIFIER_REQUIRE_PEERS"):
            pytest.fail("PostgreSQL is not installed (Debian: postgresql)")
        pytest.skip("PostgreSQL is not installed")
    owner = _owner()
    work = Path(tempfile.mkdtemp(prefix="verifier-postgres-"))
    if owner is not None:
        shutil.chown(work, owner)
    made = Postgres(work, free_port(), programs, owner)
    password = work / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    try:
        made.run("initdb", "-D", str(work / "data"), "-U", "keeper", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8", "--no-sync")
        made.start()
        yield made
    finally:
        with contextlib.suppress(AssertionError):
            made.stop("immediate")
        time.sleep(0.1)
        shutil.rmtree(work, ignore_errors=True)


def _programs() -> Path | None:
    """Where initdb and its companions lie; Debian keeps them off the PATH."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *(Path(item) for item in os.environ["PATH"].split(":"))]
    return next((place for place in found if all((place / name).is_file() for name in ("initdb", "pg_ctl", "createdb"))), None)


def _owner() -> str | None:
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)
