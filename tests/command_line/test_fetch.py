"""`assay fetch`, against a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conftest import RunAssay


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the folder `served`; gives its address."""
    (tmp_path / "served").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()
        thread.join()


def write_record(lite0_toml: Path, path: Path, url: str, prefix: str) -> Path:
    lines = [f'url = "{url}/w.pth"', 'file_name = "w.pth"', f'sha256_prefix = "{prefix}"', 'licence = "MIT"']
    path.write_text("\n".join([lite0_toml.read_text(), "[[weights]]", *lines]))
    return path


def test_fetch_puts_the_right_file_into_the_cache_and_prints_its_path(
    run_assay: RunAssay, server: str, lite0_toml: Path, tmp_path: Path
) -> None:
    (tmp_path / "served" / "w.pth").write_bytes(b"weights" * 1000)
    prefix = hashlib.sha256(b"weights" * 1000).hexdigest()[:8]
    record = write_record(lite0_toml, tmp_path / "m.toml", server, prefix)
    done = run_assay("fetch", record, "--cache", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == b"weights" * 1000
    assert Path(done.stdout.strip()).parent == tmp_path / "cache"
    assert "only 8 of 64 digits are published" in " ".join(done.stderr.split())


def test_fetch_keeps_nothing_with_another_hash(
    run_assay: RunAssay, server: str, lite0_toml: Path, tmp_path: Path
) -> None:
    (tmp_path / "served" / "w.pth").write_bytes(b"something else")
    record = write_record(lite0_toml, tmp_path / "m.toml", server, "0123abcd")
    done = run_assay("fetch", record, "--cache", tmp_path / "cache")
    assert done.returncode == 5, done.stderr
    assert "0123abcd" in done.stderr
    assert not list((tmp_path / "cache").glob("w.pth"))
