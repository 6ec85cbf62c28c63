from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from assay.checkpoint.download import download_weights, name_hash_file
from assay.errors import BadCheckpointError, BadModelError
from assay.models.record import ModelRecord, WeightsFile

CONTENT = bytes(n * 7919 % 251 for n in range(50_000))
NAME = "weights.pth"


@dataclass
class Answer:
    """How the server treats one path.

    Attributes:
        body: The file's bytes.
        status: What a request for the whole file is answered with.
        takes_range: Whether a range is honoured.
        drops_at: Where in the file each answer breaks off, one per request, until they are used up.
        location: Where the client is sent to instead.
        tells_length: Whether the answer says how long it is.
        reason: What stands behind the status; the usual words if None.
    """

    body: bytes = CONTENT
    status: int = 200
    takes_range: bool = True
    drops_at: list[int] = field(default_factory=list)
    location: str = ""
    tells_length: bool = True
    reason: str | None = None


@dataclass
class Server:
    """A web server on this machine, its answers by path, and what it was asked."""

    url: str
    answers: dict[str, Answer]
    requests: list[tuple[str, str | None, str]] = field(default_factory=list)

    def ranges(self) -> list[str | None]:
        return [requested_range for _, requested_range, _ in self.requests]


def make_handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            requested = self.headers["Range"]
            server.requests.append((self.path, requested, self.headers["User-Agent"]))
            answer = server.answers.get(self.path, Answer(status=404, body=b"none"))
            start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
            ranged = bool(requested) and answer.takes_range and answer.status == 200
            start = start if ranged else 0
            if ranged and start >= len(answer.body):
                self.send_error(416)
                return
            self.send_response(206 if ranged else answer.status, answer.reason)
            if ranged:
                size = len(answer.body)
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            if answer.location:
                self.send_header("Location", answer.location)
            if answer.tells_length:
                self.send_header("Content-Length", str(len(answer.body) - start))
            self.end_headers()
            self.wfile.write(answer.body[start : answer.drops_at.pop(0) if answer.drops_at else None])

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as http_server:
        state = Server(f"http://127.0.0.1:{http_server.server_port}", {f"/{NAME}": Answer()})
        http_server.RequestHandlerClass = make_handler(state)
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http_server.shutdown()
        thread.join()


def describe_file(url: str, *, name: str = NAME, size_bytes: int | None = None) -> WeightsFile:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return WeightsFile(
        url=url, file_name=name, sha256_prefix=sha256[:8], size_bytes=size_bytes, licence="none"
    )


def with_files(record: ModelRecord, *files: WeightsFile) -> ModelRecord:
    return msgspec.structs.replace(record, weights=files)


@pytest.fixture
def one_file(record: ModelRecord, server: Server) -> ModelRecord:
    return with_files(record, describe_file(f"{server.url}/{NAME}"))


def leave_part(cache_dir: Path, content: bytes) -> Path:
    part = cache_dir / f"{NAME}.part"
    part.write_bytes(content)
    return part


# The ordinary course.


def test_file_is_downloaded_into_the_cache(one_file: ModelRecord, tmp_path: Path) -> None:
    path = download_weights(one_file, tmp_path / "deep" / "cache")
    assert path == tmp_path / "deep" / "cache" / NAME
    assert path.read_bytes() == CONTENT


def test_finished_download_leaves_no_part(one_file: ModelRecord, tmp_path: Path) -> None:
    download_weights(one_file, tmp_path)
    assert not list(tmp_path.glob("*.part"))


def test_request_names_assay(one_file: ModelRecord, server: Server, tmp_path: Path) -> None:
    download_weights(one_file, tmp_path)
    assert server.requests[0][2].startswith("assay/")


def test_progress_ends_at_the_size_of_the_file(one_file: ModelRecord, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    download_weights(one_file, tmp_path, on_progress=lambda *sizes: told.append(sizes))
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_cached_file_is_returned_without_a_request(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    assert download_weights(one_file, tmp_path) == tmp_path / NAME
    assert not server.requests


def test_second_mirror_in_the_cache_saves_the_first_ones_download(
    record: ModelRecord, server: Server, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    first = describe_file(f"{server.url}/first.pth", name="first.pth")
    both = with_files(record, first, describe_file(f"{server.url}/{NAME}"))
    assert download_weights(both, tmp_path) == tmp_path / NAME
    assert not server.requests


def test_damaged_file_in_the_cache_is_replaced(one_file: ModelRecord, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT[:-1] + b"?")
    assert download_weights(one_file, tmp_path).read_bytes() == CONTENT


def test_two_downloads_at_once_fetch_once(one_file: ModelRecord, server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=download_weights, args=(one_file, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert (tmp_path / NAME).read_bytes() == CONTENT


# Going on from a part.


def test_part_of_an_earlier_run_is_completed(one_file: ModelRecord, server: Server, tmp_path: Path) -> None:
    leave_part(tmp_path, CONTENT[:20_000])
    assert download_weights(one_file, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == ["bytes=20000-"]


def test_dropped_connection_goes_on_where_it_broke_off(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    server.answers[f"/{NAME}"].drops_at = [10_000, 30_000]
    assert download_weights(one_file, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=10000-", "bytes=30000-"]


def test_server_that_keeps_breaking_off_is_given_up_but_the_part_kept(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    server.answers[f"/{NAME}"].drops_at = [100 * n for n in range(1, 100)]
    with pytest.raises(BadCheckpointError, match="broke off after"):
        download_weights(one_file, tmp_path)
    assert CONTENT.startswith((tmp_path / f"{NAME}.part").read_bytes())


def test_server_that_ignores_the_range_is_read_from_the_start(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    server.answers[f"/{NAME}"].takes_range = False
    leave_part(tmp_path, CONTENT[:20_000])
    assert download_weights(one_file, tmp_path).read_bytes() == CONTENT


def test_whole_part_needs_no_request(one_file: ModelRecord, server: Server, tmp_path: Path) -> None:
    leave_part(tmp_path, CONTENT)
    assert download_weights(one_file, tmp_path).read_bytes() == CONTENT
    assert not server.requests


def test_part_longer_than_the_file_is_begun_anew(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    leave_part(tmp_path, CONTENT + b"more")
    assert download_weights(one_file, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == [f"bytes={len(CONTENT) + 4}-", None]  # the first is answered with 416


def test_part_of_a_file_that_has_changed_since_is_begun_anew(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    leave_part(tmp_path, b"x" * 20_000)
    assert download_weights(one_file, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == ["bytes=20000-", None]


def test_ctrl_c_keeps_the_part(one_file: ModelRecord, tmp_path: Path) -> None:
    def interrupt(_received: int, _total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_weights(one_file, tmp_path, on_progress=interrupt)
    part = (tmp_path / f"{NAME}.part").read_bytes()
    assert part
    assert CONTENT.startswith(part)


# What goes wrong.


def test_next_url_is_tried_after_a_404(record: ModelRecord, server: Server, tmp_path: Path) -> None:
    both = with_files(record, describe_file(f"{server.url}/gone.pth"), describe_file(f"{server.url}/{NAME}"))
    assert download_weights(both, tmp_path).read_bytes() == CONTENT
    assert [path for path, _, _ in server.requests] == ["/gone.pth", f"/{NAME}"]


def test_wrong_content_is_refused_with_both_hashes(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    server.answers[f"/{NAME}"].body = b"<html>Please log in</html>"
    with pytest.raises(BadCheckpointError) as caught:
        download_weights(one_file, tmp_path)
    assert one_file.weights[0].sha256_prefix in caught.value.message
    assert hashlib.sha256(b"<html>Please log in</html>").hexdigest() in caught.value.message


def test_wrong_content_leaves_neither_part_nor_file(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    server.answers[f"/{NAME}"].body = b"wrong"
    with pytest.raises(BadCheckpointError):
        download_weights(one_file, tmp_path)
    assert not (tmp_path / NAME).exists()
    assert not list(tmp_path.glob("*.part"))


def test_wrong_size_is_refused_before_the_download(
    record: ModelRecord, server: Server, tmp_path: Path
) -> None:
    larger = with_files(record, describe_file(f"{server.url}/{NAME}", size_bytes=60_000))
    with pytest.raises(BadCheckpointError, match=r"expected 60,000 bytes, the server has 50,000"):
        download_weights(larger, tmp_path)


def test_failure_lists_every_url_with_its_reason(record: ModelRecord, server: Server, tmp_path: Path) -> None:
    gone, closed, odd = f"{server.url}/gone.pth", "http://127.0.0.1:1/closed.pth", "http://[::1/odd.pth"
    server.answers["/gone.pth"] = Answer(status=503)
    with pytest.raises(BadCheckpointError) as caught:
        download_weights(with_files(record, *map(describe_file, (gone, closed, odd))), tmp_path)
    lines = caught.value.message.splitlines()
    assert f"{gone}: HTTP 503" in lines[1]
    assert f"{closed}: [Errno" in lines[2]
    assert f"{odd}: " in lines[3]


@pytest.mark.parametrize("scheme", ["file://", "ftp://127.0.0.1", "data:,"])
def test_only_web_urls_are_fetched(scheme: str, record: ModelRecord, tmp_path: Path) -> None:
    (tmp_path / "source.pth").write_bytes(CONTENT)
    url = f"{scheme}{tmp_path}/source.pth"
    with pytest.raises(BadCheckpointError, match="expected an http or https URL"):
        download_weights(with_files(record, describe_file(url)), tmp_path / "cache")


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/weights.pth"])
def test_redirect_out_of_the_web_is_not_followed(
    location: str, one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    server.answers[f"/{NAME}"] = Answer(status=302, location=location, body=b"")
    with pytest.raises(BadCheckpointError):
        download_weights(one_file, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_redirect_on_the_web_is_followed(one_file: ModelRecord, server: Server, tmp_path: Path) -> None:
    server.answers["/moved"] = Answer()
    server.answers[f"/{NAME}"] = Answer(status=302, location=f"{server.url}/moved", body=b"")
    assert download_weights(one_file, tmp_path).read_bytes() == CONTENT


def test_record_without_weights_is_refused(record: ModelRecord, tmp_path: Path) -> None:
    with pytest.raises(BadModelError, match="lists no weights"):
        download_weights(with_files(record), tmp_path)


@pytest.mark.parametrize("name", ["../weights.pth", "/tmp/weights.pth", "a/b", "..", ""])
def test_file_name_cannot_leave_the_cache(
    name: str, record: ModelRecord, server: Server, tmp_path: Path
) -> None:
    with pytest.raises(BadModelError, match="bare file_name"):
        download_weights(with_files(record, describe_file(f"{server.url}/{NAME}", name=name)), tmp_path)


def test_cache_that_cannot_be_written_is_told(one_file: ModelRecord, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    with pytest.raises(BadCheckpointError, match=r"cache.* cannot be used: "):
        download_weights(one_file, tmp_path / "cache")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_full_disk_is_told_and_not_taken_for_the_networks_fault(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.part").symlink_to("/dev/full")  # every write to it fails with ENOSPC
    with pytest.raises(BadCheckpointError, match="No space left on device"):
        download_weights(one_file, tmp_path)
    assert len(server.requests) == 1


# What a few digits of a hash do not prove.


def test_the_whole_hash_is_kept_at_the_first_download(one_file: ModelRecord, tmp_path: Path) -> None:
    path = download_weights(one_file, tmp_path)
    assert name_hash_file(path).read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  {NAME}\n"


def test_another_file_that_begins_with_the_same_digits_is_refused(
    one_file: ModelRecord, tmp_path: Path
) -> None:
    first = hashlib.sha256(CONTENT).hexdigest()[:8] + 56 * "0"
    name_hash_file(tmp_path / NAME).write_text(f"{first}  {NAME}\n")
    with pytest.raises(BadCheckpointError, match="another file that begins alike"):
        download_weights(one_file, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_nothing_is_fetched_over_http_by_a_few_digits(record: ModelRecord, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpointError, match="not fetched over http: of its sha256 only 8 digits"):
        download_weights(with_files(record, describe_file("http://198.51.100.7/x.pth")), tmp_path)


def test_https_is_asked_before_http_whatever_the_order_of_the_record(
    record: ModelRecord, tmp_path: Path
) -> None:
    files = [describe_file(f"{scheme}://127.0.0.1:1/{NAME}") for scheme in ("http", "https")]
    with pytest.raises(BadCheckpointError) as caught:
        download_weights(with_files(record, *files), tmp_path)
    assert [line.strip().partition(":")[0] for line in caught.value.message.splitlines()[1:]] == [
        "https",
        "http",
    ]


def test_what_a_server_says_of_itself_reaches_no_terminal_raw(
    one_file: ModelRecord, server: Server, tmp_path: Path
) -> None:
    server.answers[f"/{NAME}"] = Answer(status=404, reason="gone\x1b[2J")
    with pytest.raises(BadCheckpointError, match=r"HTTP 404 gone\\x1b\[2J"):
        download_weights(one_file, tmp_path)


def test_a_redirect_to_http_is_not_followed_to_the_file(
    one_file: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("http.client.HTTPResponse.geturl", lambda _self: "http://198.51.100.7/x.pth")
    with pytest.raises(BadCheckpointError, match="not fetched over http"):
        download_weights(one_file, tmp_path)


def test_a_body_of_unknown_length_is_cut_at_the_published_size(
    record: ModelRecord, server: Server, tmp_path: Path
) -> None:
    server.answers[f"/{NAME}"] = Answer(body=CONTENT + bytes(2**22), tells_length=False)
    file = describe_file(f"{server.url}/{NAME}", size_bytes=len(CONTENT))
    with pytest.raises(BadCheckpointError, match=f"sends more than {len(CONTENT):,} bytes"):
        download_weights(with_files(record, file), tmp_path)
    assert not list(tmp_path.glob("*.part"))
