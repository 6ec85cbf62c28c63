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
FAILURES = (403, 500, 503, REFUSAL, CUT_SHORT)


class FailingStore:
    """Passes requests on to the server at `upstream_port`; while `failure` is set, reading an object fails.

    With `fails_listing`, listing fails instead. `wanted` keeps failures to the keys that end so.
    """

    client: Any
    """Of the bucket, by boto3; it asks the server itself, past the failures."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.failure: int | str | None = None
        self.fails_listing = False
        self.wanted = ""
        self._let_through = 0
        self._times: float = math.inf
        self.failed_count = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
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
        if self.failure is None or method not in ("GET", "HEAD"):
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


def _make_handler(store: FailingStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _pass_on(self) -> None:
            failure = store.choose_failure(self.command, self.path)
            if failure == REFUSAL or (failure == CUT_SHORT and self.command == "HEAD"):
                if failure == REFUSAL:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                failure = None
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            if isinstance(failure, int):
                self._answer(failure, [], b"")
                return
            upstream = http.client.HTTPConnection("127.0.0.1", store.upstream_port, timeout=30)
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            self._answer(answer.status, answer.getheaders(), content, cut=failure == CUT_SHORT)

        def _answer(
            self, status: int, headers: list[tuple[str, str]], content: bytes, *, cut: bool = False
        ) -> None:
            self.send_response_only(status)
            kept = [(k, v) for k, v in headers if k.lower() not in ("transfer-encoding", "connection")]
            for name, value in kept:
                self.send_header(name, value)
            if "content-length" not in {name.lower() for name, _ in kept}:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815

    return Handler
