"""Requests that libraries make by themselves (sigstore's services, the SDKs of clouds and key keepers), told by what they log, for `--debug`.

Our own exchanges are told where they are made; those of this thread that the watchdog knows are ours, and are not told twice. Bodies are never
logged by these libraries at this level, and queries are masked. Sources: urllib3 connectionpool.py `_make_request`, httpx _client.py `_send_single_request`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from verifier.net.transport import Observer, masked
from verifier.net.watchdog import WATCHDOG

_LOGGERS = {"urllib3.connectionpool": logging.DEBUG, "httpx": logging.INFO, "httpx2": logging.INFO}
_hearing = threading.Lock()


@contextlib.contextmanager
def overheard(observe: Observer) -> Iterator[None]:
    """Tell them until the block ends; within another such block there is nothing more to tell."""
    if not _hearing.acquire(blocking=False):
        yield
        return
    handler = _Ear(observe)
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        for name, level in _LOGGERS.items():
            logging.getLogger(name).addHandler(handler)
            logging.getLogger(name).setLevel(level)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(level)
        _hearing.release()


class _Ear(logging.Handler):
    def __init__(self, observe: Observer) -> None:
        super().__init__()
        self._observe = observe

    def emit(self, record: logging.LogRecord) -> None:
        """One line for an exchange; what else these loggers say is of no interest."""
        line = _line(record.args)
        if line is not None and not WATCHDOG.is_watching:
            self._observe(masked(line))


def _line(arguments: object) -> str | None:
    match arguments:
        case (str() as scheme, str() as host, port, str() as method, str() as path, _, int() as status, _):  # urllib3
            known = {"https": 443, "http": 80}.get(scheme) == port
            return f"{method} {scheme}://{host}{'' if known or port is None else f':{port}'}{path} -> {status}"
        case (str() as method, url, str(), int() as status, str()):  # httpx
            return f"{method} {url} -> {status}"
        case _:
            return None
