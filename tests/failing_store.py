"""A proxy in front of an S3 server that fails as stores do: refuses, throttles, is slow, answers by half."""

from __future__ import annotations

import http.client
import math
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSAL = "refused"
CUT_SHORT = "cut short"
RESET = "reset"
SLOW = "slow"
ERROR_IN_200 = "200 with an error"
FAILURES = (403, 500, 503, REFUSAL, CUT_SHORT)
_CODES = {
    400: "ExpiredToken",
    403: "AccessDenied",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}
_OF_THE_CONNECTION = ("transfer-encoding", "connection")
_OF_THE_BODY = ("content-length", "transfer-encoding", "expect")
_SLOW_BYTES, _SLOW_S = 500, 0.2


class FailingStore:
    """Passes requests on to the server at `upstream_port`; while `failure` is set, reading an object fails.

    With `fails_listing` or `fails_writing` that fails instead. `wanted`: only keys that end so fail.
    """

    client: Any
    """Of the bucket, by boto3; it asks the server itself, past the failures."""

    def __init__(self, upstream_port: int, host: str = "127.0.0.1", port: int = 0) -> None:
        self.upstream_port = upstream_port
        self.failure: int | str | None = None
        self.fails_listing = False
        self.fails_writing = False
        self.wanted = ""
        self._let_through = 0
        self._times: float = math.inf
        self.failed_count = 0
        self._server = ThreadingHTTPServer((host, port), type("Handler", (_Handler,), {"store": self}))
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

    def choose_failure(self, request: BaseHTTPRequestHandler) -> int | str | None:
        """Choose how this request fails; None where it does not."""
        is_listing = "list-type" in request.path
        is_writing = is_write(request)
        if self.failure is None or is_writing != self.fails_writing:
            return None
        if is_listing != self.fails_listing or not request.path.partition("?")[0].endswith(self.wanted):
            return None
        if self._let_through > 0:
            self._let_through -= request.command == "GET"
            return None
        if self.failed_count >= self._times:
            return None
        self.failed_count += 1
        return self.failure


def is_write(request: BaseHTTPRequestHandler) -> bool:
    """Whether a request changes the bucket."""
    return request.command not in ("GET", "HEAD")


def completes_upload(request: BaseHTTPRequestHandler) -> bool:
    """Whether a request makes an object of the parts that were sent; S3 answers with 200 before it has."""
    return request.command == "POST" and "uploadId=" in request.path


class _Handler(BaseHTTPRequestHandler):
    """Passes one connection's requests on, or fails them."""

    protocol_version = "HTTP/1.1"
    store: FailingStore

    def log_message(self, *_: Any) -> None:
        pass

    def _pass_on(self) -> None:
        failure = self.store.choose_failure(self)
        if failure == RESET:
            self._read_body(half=True)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        body = self._read_body(is_slow=failure == SLOW)
        if failure == REFUSAL:
            self._hang_up()
        elif isinstance(failure, int):
            self._answer(failure, [], make_error(failure))
        elif failure == ERROR_IN_200 and completes_upload(self):
            self._answer(200, [("Content-Type", "application/xml")], make_error(500))
        else:
            self._ask_upstream(body, failure)

    def _ask_upstream(self, body: bytes, failure: str | None) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.store.upstream_port, timeout=30)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_BODY}
        upstream.request(self.command, self.path, body, {**kept, "Content-Length": str(len(body))})
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        self._answer(answer.status, answer.getheaders(), content, failure)

    def _read_body(self, *, half: bool = False, is_slow: bool = False) -> bytes:
        """The body of the request, however it is sent, or its first half."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            size = int(self.headers.get("Content-Length") or 0)
            return self._read(size // 2 if half else size, is_slow=is_slow)
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self._read(size // 2 if half else size, is_slow=is_slow)
            if half:
                return body
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _read(self, size: int, *, is_slow: bool) -> bytes:
        if not is_slow:
            return self.rfile.read(size)
        body = b""
        while len(body) < size:
            body += self.rfile.read(min(_SLOW_BYTES, size - len(body)))
            time.sleep(_SLOW_S)
        return body

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, failure: str | None = None
    ) -> None:
        self.send_response_only(status)
        kept = {name: value for name, value in headers if name.lower() not in _OF_THE_CONNECTION}
        for name, value in {"Content-Length": str(len(content)), **kept}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        is_cut = failure == CUT_SHORT and bool(content)
        step = _SLOW_BYTES if failure == SLOW else max(1, len(content))
        for start in range(0, len(content) // 2 if is_cut else len(content), step):
            self.wfile.write(content[start : start + step][: len(content) // 2 if is_cut else None])
            self.wfile.flush()
            time.sleep(_SLOW_S * (failure == SLOW))
        if is_cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815


def make_error(status: int) -> bytes:
    """What S3 says with a status."""
    return f"<?xml version='1.0'?><Error><Code>{_CODES[status]}</Code><Message>no</Message></Error>".encode()
