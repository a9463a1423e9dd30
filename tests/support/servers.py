"""Servers on loopback while a test or a benchmark runs: programs, and threads of this process."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve on a thread of this process until the block ends; gives the port."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    with server:
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start(command: Sequence[object], url: str, work: Path, *, home: Path | None = None, ca: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a server in `work`, and wait until `url` answers in any way; it is stopped when it never does."""
    log = work / f"{Path(str(command[0])).name}.log"
    environment = {"PATH": os.environ["PATH"], "HOME": str(home or work), "OTEL_TRACES_EXPORTER": "none"}
    with log.open("wb") as output:
        process = subprocess.Popen([str(item) for item in command], stdout=output, stderr=output, env=environment, cwd=work)
    try:
        _await(url, process, log, ssl.create_default_context(cafile=ca) if ca is not None else None)
    except BaseException:
        stop(process)
        raise
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it, and be sure of it."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)


def _await(url: str, process: subprocess.Popen[bytes], log: Path, tls: ssl.SSLContext | None) -> None:
    for _ in range(400):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=2, context=tls).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    found = "it does not answer" if process.poll() is None else f"it ended with {process.returncode}"
    raise AssertionError(f"{url}: {found}\n{log.read_text(errors='replace')[-800:]}")
