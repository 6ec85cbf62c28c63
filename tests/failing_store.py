"""A proxy in front of an S3 server that fails as stores do: 403, 500, 503, no answer, half an answer."""

from __future__ import annotations

import http.client
import math
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSAL = "refused"
CUT_SHORT = "cut short"
_OF_THE_CONNECTION = ("transfer-encoding", "connection")
_OF_THE_BODY = ("content-length", "transfer-encoding", "expect")
FAILURES = (403, 500, 503, REFUSAL, CUT_SHORT)


class FailingStore:
    """Passes requests on to the server at `upstream_port`; while `failure` is set, reading an object fails.

    With `fails_listing` or `fails_writing` that fails instead. `wanted`: only keys that end so fail.
    """

    client: Any
    """Of the bucket, by boto3; it asks the server itself, past the failures."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.failure: int | str | None = None
        self.fails_listing = False
        self.fails_writing = False
        self.wanted = ""
        self._let_through = 0
        self._times: float = math.inf
        self.failed_count = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, failure: int | str, *, after: int = 0, times: float = math.inf) -> None:
        """Fail so many requests, but for the first `after` objects that are read."""
        self._let_through, self._times, self.failed_count = after, times, 0
        self.failure = failure

    def recover(self) -> None:
        """Answer everything again."""
        self.failure = None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def choose_failure(self, method: str, path: str) -> int | str | None:
        """Choose how this request fails; None where it does not."""
        is_listing = "list-type" in path
        is_writing = method not in ("GET", "HEAD")
        if self.failure is None or is_writing != self.fails_writing:
            return None
        if is_listing != self.fails_listing or not path.partition("?")[0].endswith(self.wanted):
            return None
        if self._let_through > 0:
            self._let_through -= method == "GET"
            return None
        if self.failed_count >= self._times:
            return None
        self.failed_count += 1
        return self.failure


class _Handler(BaseHTTPRequestHandler):
    """Passes one connection's requests on, or fails them."""

    protocol_version = "HTTP/1.1"
    store: FailingStore

    def log_message(self, *_: Any) -> None:
        pass

    def _pass_on(self) -> None:
        failure = self.store.choose_failure(self.command, self.path)
        body = self._read_body()
        if failure == REFUSAL:
            self._hang_up()
        elif isinstance(failure, int):
            self._answer(failure, [], b"")
        else:
            upstream = http.client.HTTPConnection("127.0.0.1", self.store.upstream_port, timeout=30)
            kept = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_BODY}
            upstream.request(self.command, self.path, body, {**kept, "Content-Length": str(len(body))})
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            is_cut = failure == CUT_SHORT and bool(content)
            self._answer(answer.status, answer.getheaders(), content, is_cut=is_cut)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, *, is_cut: bool = False
    ) -> None:
        self.send_response_only(status)
        kept = {name: value for name, value in headers if name.lower() not in _OF_THE_CONNECTION}
        for name, value in {"Content-Length": str(len(content)), **kept}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if is_cut else content)
        if is_cut:
            self.wfile.flush()
            self._hang_up()

    def _hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815
