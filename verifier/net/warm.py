"""Handing a call to a warm process of the same user, which forks and becomes it.

1. The warm process listens on a socket in a directory that only its user can enter; both sides ask the kernel who is at the other end.
2. It takes calls only of the same Python, version and files; after an upgrade it takes none any more, and ends.
3. A call is arguments, environment, directory and the three streams. For each one it forks; the child becomes the caller's process, answers with
   its exit code, and ends. Nothing that one call does is seen by another.
4. A caller that finds none, or one that does not fit, does the work itself. Once a call was taken it is not done twice: a child that dies in
   the middle is LOST.

The caller's side is on the way of each short command, so this module imports little, and no pathlib.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from verifier import __version__

LOST = 3  # could not tell
_MOST_BYTES = 1024 * 1024  # of a call
_MOST_CHILDREN = 16
_SECONDS = 2.0  # to take a call
_TAKEN = b"+"
_PEER = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
_LENGTH = struct.Struct("!I")
_CHANGING = ("", "__init__.py", "net/warm.py", "cli/helm.py", "operations/helm_get.py")  # an upgrade touches them
Call = dict[str, Any]


def socket_path(environment: Mapping[str, str]) -> str | None:
    """Where the socket lies; None where there is no directory for it, or the platform does not tell who is calling."""
    runtime, home = environment.get("XDG_RUNTIME_DIR", ""), environment.get("HOME", "")
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    if os.path.isabs(runtime):
        return os.path.join(runtime, "verifier", "getter.sock")
    return os.path.join(home, ".cache", "verifier", "getter.sock") if os.path.isabs(home) else None


def identity() -> str:
    """2: what both sides must share."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    changed = max(os.stat(os.path.join(here, name)).st_mtime_ns for name in _CHANGING)
    return json.dumps([sys.executable, sys.version, __version__, here, changed])


def is_private(directory: str) -> bool:
    """1: whether nobody else can put a socket there, or reach one."""
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def hand_over(words: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """4: the exit code of whoever took the call, LOST if it ended in the middle, None where nobody took it."""
    path = socket_path(environment)
    if path is None or not is_private(os.path.dirname(path)):
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(_SECONDS)
            connection.connect(path)
            if not _same_user(connection):
                return None
            call = json.dumps({"identity": identity(), "words": list(words), "environment": dict(environment), "directory": os.getcwd()}).encode()
            socket.send_fds(connection, [_LENGTH.pack(len(call))], [0, 1, 2])
            connection.sendall(call)
            if connection.recv(1) != _TAKEN:
                return None
        except OSError:
            return None
        connection.settimeout(None)
        said = b""
        with contextlib.suppress(OSError):
            said = connection.recv(16)
    return int(said) if said.isdigit() else LOST


def start(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start a program that lives on by itself, on no terminal and with none of our streams; without one that can be started nothing happens."""
    null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    with contextlib.suppress(OSError):
        os.posix_spawn(words[0], list(words), dict(environment), file_actions=null, setsid=True)


def serve(path: str, idle: float, become: Callable[[Call], int]) -> None:
    """Take calls until none came for `idle` seconds, or the program's files changed; raises OSError where there can be no socket.

    `become` is run in a child of its own for each call, with the caller's streams in place; what it returns is the exit code. This process must
    have no threads.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if not is_private(os.path.dirname(path)):
        raise PermissionError(13, "the directory is not this user's alone", os.path.dirname(path))
    own, children = identity(), 0
    with _listening(path) as listener:
        listener.settimeout(idle)
        while identity() == own:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                return
            with connection:
                children += _take(connection, own if children < _MOST_CHILDREN else "", become)
            children -= _reap()


@contextlib.contextmanager
def _listening(path: str) -> Iterator[socket.socket]:
    """A socket in the place of one that a dead process left; never in that of a living one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except FileNotFoundError:
            pass
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise FileExistsError(17, "one is running already", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(_MOST_CHILDREN)
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _take(connection: socket.socket, own: str, become: Callable[[Call], int]) -> int:
    """2 and 3: one call; how many children were made. What is no call of ours is dropped, and its caller does the work itself."""
    connection.settimeout(_SECONDS)
    descriptors: list[int] = []
    try:
        call = _read(connection, descriptors)
        if not _same_user(connection) or call.get("identity") != own:
            return 0
        connection.sendall(_TAKEN)
        if os.fork():
            return 1
    except (OSError, ValueError, AttributeError):
        return 0
    else:
        _become(connection, call, descriptors, become)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return 0


def _read(connection: socket.socket, descriptors: list[int]) -> Call:
    head, received, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
    descriptors += received
    if len(head) != _LENGTH.size or len(received) != 3:
        raise ValueError("not a call")
    wanted, data = _LENGTH.unpack(head)[0], b""
    while len(data) < wanted <= _MOST_BYTES and (part := connection.recv(wanted - len(data))):
        data += part
    call: Call = json.loads(data)
    return call


def _become(connection: socket.socket, call: Call, descriptors: list[int], become: Callable[[Call], int]) -> None:
    """3: the caller's process from here on; never returns."""
    status = LOST
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.chdir(call["directory"])
        status = become(call)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        with contextlib.suppress(OSError):
            connection.sendall(str(status).encode())
        os._exit(status)


def _same_user(connection: socket.socket) -> bool:  # 1
    return int(_PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1]) == os.getuid()


def _reap() -> int:
    """How many children have ended."""
    ended = 0
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            ended += 1
    return ended
