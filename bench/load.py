"""A load of HTTP requests from a process of its own: `python -m bench.load HOST PORT THREADS SECONDS FILE`.

FILE holds one request body per line; each thread keeps one connection and takes the next body. Prints requests per second
and latencies in milliseconds as JSON. The same client is used for every server.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from pathlib import Path


def request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def exchange(connection: socket.socket, data: bytes) -> int:
    connection.sendall(data)
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(connection)
    else:
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += _more(connection)
    return int(head[9:12]) if b'"isSuccess":false' not in body and b'"allowed":false' not in body else 599


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("closed")
    return data


def main(host: str, port: str, threads: str, total: str, file: str, path: str) -> None:
    bodies = [request(path, line) for line in Path(file).read_bytes().splitlines()]
    left, lock, took, bad = iter(range(int(total))), threading.Lock(), [], []

    def work() -> None:
        with socket.create_connection((host, int(port))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                with lock:
                    index = next(left, None)
                if index is None:
                    return
                started = time.perf_counter()
                status = exchange(connection, bodies[index % len(bodies)])
                took.append(time.perf_counter() - started)
                if status != 200:
                    bad.append(status)

    workers = [threading.Thread(target=work) for _ in range(int(threads))]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started
    took.sort()
    print(json.dumps({"rate": len(took) / seconds, "p50": took[len(took) // 2] * 1e3, "p99": took[int(len(took) * 0.99)] * 1e3, "bad": len(bad)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
