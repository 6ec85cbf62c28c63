"""Three Ray nodes in network namespaces of one machine and a bucket in a fourth, which can be made to fail.

Needs root (for `ip netns`) and moto. Run with `--serve FOLDER` it is the bucket.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow.parquet as pq
from moto.server import ThreadedMotoServer
from PIL import Image

from assay.workflows.cluster.sessions import end_session, list_session

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from colour_classifier import make_colour_classifier
from failing_store import FailingStore, is_write

NODES = ("a", "b", "c")
ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2", "c": "10.77.0.3", "s": "10.77.0.4", "host": "10.77.0.9"}
PROXY, UPSTREAM, RAY_PORT = 9000, 5000, 6390
CONTROL_STORE = f"{ADDRESSES['a']}:{RAY_PORT}"
IMAGE_COUNT, SHARD_SIZE, IMAGES_PER_SECOND = 360, 6, 6
QUERY = "region=us-east-1"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}


def run(*command: object) -> None:
    """Run a command of the system; what it says is shown where it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr}")


def inside(name: str, *command: object) -> list[str]:
    """The command in the namespace of that name."""
    return ["ip", "netns", "exec", f"assay-{name}", *map(str, command)]


def set_link(name: str, state: str) -> None:
    """Take a node's link `down` or `up`."""
    run(*inside(name, "ip", "link", "set", "eth0", state))


@contextlib.contextmanager
def make_namespaces() -> Iterator[None]:
    """Four namespaces on one bridge, to which this process belongs too."""
    run("ip", "link", "add", "assay-br", "type", "bridge")
    try:
        run("ip", "addr", "add", f"{ADDRESSES['host']}/24", "dev", "assay-br")
        run("ip", "link", "set", "assay-br", "up")
        for name in (*NODES, "s"):
            peer = ("type", "veth", "peer", "name", "eth0", "netns", f"assay-{name}")
            run("ip", "netns", "add", f"assay-{name}")
            run("ip", "link", "add", f"assay-{name}0", *peer)
            run("ip", "link", "set", f"assay-{name}0", "master", "assay-br", "up")
            run(*inside(name, "ip", "addr", "add", f"{ADDRESSES[name]}/24", "dev", "eth0"))
            set_link(name, "up")
            run(*inside(name, "ip", "link", "set", "lo", "up"))
        yield
    finally:
        for name in (*NODES, "s"):
            subprocess.run(["ip", "netns", "del", f"assay-{name}"], capture_output=True, check=False)
        for link in (*(f"assay-{name}0" for name in (*NODES, "s")), "assay-br"):
            subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)


class FaultyStore(FailingStore):
    """Fails as the file of faults says, and writes down who read an image."""

    def __init__(self, place: Path) -> None:
        super().__init__(UPSTREAM, "0.0.0.0", PROXY)
        self.place = place

    def choose_failure(self, request: BaseHTTPRequestHandler) -> int | str | None:
        """Choose how this request fails; None where it does not."""
        client = request.client_address[0]
        if request.command == "GET" and request.path.startswith("/bucket/val/"):
            with (self.place / "reads").open("a") as file:
                file.write(f"{client}\n")
        fault = json.loads((self.place / "faults.json").read_text())
        if time.time() >= fault["until"] or fault["who"] not in ("", client):
            return None
        if fault["writing"] not in (None, is_write(request)):
            return None
        if fault["kind"] == "expired":
            uses_key = f"Credential={fault['key']}/" in request.headers.get("Authorization", "")
            return 400 if uses_key else None
        return fault["kind"]


def serve(place: Path) -> None:
    """Serve the bucket in this process's namespace until it is killed."""
    ThreadedMotoServer(ip_address="0.0.0.0", port=UPSTREAM).start()
    FaultyStore(place)
    threading.Event().wait()


@dataclass
class Bench:
    """The cluster, the bucket, and what is known of both."""

    place: Path
    expected: dict[str, bytes] = field(default_factory=dict)
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=lambda: TOKEN)
    client: Any = None
    commands: list[int] = field(default_factory=list)

    def fail(
        self,
        kind: int | str,
        seconds: float,
        *,
        who: str = "",
        key: str = "test",
        writing: bool | None = None,
    ) -> None:
        """Let the store fail for so long, for one address or all, for what writes or what reads or both."""
        until = time.time() + seconds
        fault = {"kind": kind, "until": until, "who": who, "key": key, "writing": writing}
        temporary = self.place / "faults.new"
        temporary.write_text(json.dumps(fault))
        temporary.replace(self.place / "faults.json")

    def recover(self) -> None:
        """Let the store answer everything, with the first credentials, and count reads from here on."""
        self.fail("", 0)
        self.write_key("test")
        (self.place / "reads").write_text("")

    def count_reads(self) -> dict[str, int]:
        """How many images each node has read, tries and first looks among them."""
        counts = Counter((self.place / "reads").read_text().split())
        return {name: counts[ADDRESSES[name]] for name in NODES}

    def write_key(self, key: str) -> None:
        """Write the credentials that all nodes read."""
        text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = test\n"
        (self.place / "credentials").write_text(text)

    def make_environment(self, node: str) -> dict[str, str]:
        """The variables of a node's processes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_"))}
        return kept | {
            "AWS_SHARED_CREDENTIALS_FILE": str(self.place / "credentials"),
            "AWS_ENDPOINT_URL": f"http://{ADDRESSES['s']}:{PROXY}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(self.place / node),
            "XDG_CACHE_HOME": str(self.place / node / "cache"),
            "TMPDIR": str(self.place / node / "tmp"),
            "RAY_USAGE_STATS_ENABLED": "0",
            **self.tokens,
        }

    def start_node(self, name: str) -> None:
        """Start Ray in the node's namespace."""
        (self.place / name / "tmp").mkdir(exist_ok=True, parents=True)
        ray = Path(sys.executable).parent / "ray"
        where = ["--head", "--port", RAY_PORT] if name == "a" else ["--address", CONTROL_STORE]
        more = ["--node-ip-address", ADDRESSES[name], "--num-cpus", 1, "--object-store-memory", 100 * 2**20]
        if name == "a":
            more += ["--include-dashboard", "false"]
        self.nodes[name] = subprocess.Popen(
            inside(name, ray, "start", *where, *more, "--block"),
            env=self.make_environment(name), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill_node(self, name: str) -> None:
        """Kill all that the node consists of."""
        process = self.nodes.pop(name)
        end_session(process.pid)
        process.wait()

    def find_processes(self, node: str, what: bytes) -> list[int]:
        """The processes of a node whose command begins so."""
        found = []
        for process in list_session(self.nodes[node].pid):
            with contextlib.suppress(OSError):
                if what in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0]:
                    found.append(process)
        return found

    def command(self, node: str, url: str, *more: str) -> list[str]:
        """The command line of a run on a node.

        Other nodes' raylets are hidden from it: among all processes Ray looks for one to belong to, and takes
        the head's where it sees several, though that is not reached by the addresses of this node.
        """
        others = [node_name for node_name in self.nodes if node_name != node]
        raylets = [process for other in others for process in self.find_processes(other, b"raylet")]
        hide = "".join(f"mount -t tmpfs none /proc/{process}; " for process in raylets)
        model, images = f"s3://bucket/model?{QUERY}", f"s3://bucket/val?{QUERY}"
        tail = ["--shard-size", str(SHARD_SIZE), "-o", url, "--ray", CONTROL_STORE, *more]
        assay = [sys.executable, "-m", "assay", "evaluate", model, "--images", images, *tail]
        return inside(node, "sh", "-c", f'{hide}exec "$@"', "sh", *assay)

    def list_parts(self, name: str) -> dict[str, bytes]:
        """The parts of a run in the bucket, by name."""
        listed = self.client.list_objects_v2(Bucket="bucket", Prefix=f"{name}/predictions/")
        keys = [each["Key"] for each in listed.get("Contents", [])]
        return {key.rpartition("/")[2]: self.read(key) for key in keys}

    def read(self, key: str) -> bytes:
        """An object, past the faults."""
        return self.client.get_object(Bucket="bucket", Key=key)["Body"].read()

    def read_status(self, name: str) -> str:
        """What the manifest in the bucket says."""
        try:
            return json.loads(self.read(f"{name}/manifest.json"))["status"]
        except self.client.exceptions.NoSuchKey:
            return "none"

    def judge(self, name: str) -> str:
        """Rows lost, rows doubled, parts that are not those of one process."""
        parts = self.list_parts(name)
        tables = [pq.read_table(io.BytesIO(part)) for part in parts.values()]
        rows = [row for table in tables for row in table.column("name").to_pylist()]
        lost = IMAGE_COUNT - len(set(rows))
        other = sum(self.expected.get(part) != content for part, content in parts.items())
        return f"{lost:>5}{len(rows) - len(set(rows)):>8}{other:>7}"

    def restart(self, tokens: dict[str, str]) -> None:
        """Begin the cluster again, with other tokens."""
        for name in list(self.nodes):
            self.kill_node(name)
        self.tokens = tokens
        self.mend()

    def mend(self) -> None:
        """Make the store well and the cluster whole."""
        self.recover()
        set_link("a", "up")
        if "a" not in self.nodes or not self.find_processes("a", b"gcs_server") or not self.is_reachable():
            for name in list(self.nodes):
                self.kill_node(name)
        for name in NODES:
            if name in self.nodes and self.nodes[name].poll() is not None:
                self.kill_node(name)
            if name not in self.nodes:
                self.start_node(name)
                while name == "a" and not self.is_reachable():
                    time.sleep(0.5)
                self.wait_for_nodes(len(self.nodes))  # two that start at once take each other's files
        self.wait_for_nodes(len(NODES))

    def is_reachable(self) -> bool:
        """Whether the control store answers in its namespace."""
        probe = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()"
        command = inside("a", sys.executable, "-c", probe, ADDRESSES["a"], RAY_PORT)
        return not subprocess.run(command, capture_output=True, check=False).returncode

    def wait_for_nodes(self, count: int) -> None:
        """Wait until so many nodes are alive."""
        probe = (
            "import os, sys, time; from ray._raylet import GcsClient\n"
            "client = GcsClient(address=sys.argv[1])\n"
            "def count(): return sum(n.state == 0 for n in client.get_all_node_info(timeout=10).values())\n"
            "while count() != int(sys.argv[2]): time.sleep(0.5)\n"
        )
        self.ask_cluster(probe, str(count))

    def ask_cluster(self, script: str, *arguments: str) -> str:
        """What a script prints in the head's namespace; its first argument is the control store's address."""
        command = inside("a", sys.executable, "-c", script, CONTROL_STORE, *arguments)
        environment = self.make_environment("a")
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        return done.stdout.strip()

    def fill_bucket(self) -> None:
        """Images and compiled model into the bucket; what one process makes of them is what is expected."""
        random = np.random.default_rng(0)
        images, place = self.place / "val", self.place
        images.mkdir()
        for number in range(1, IMAGE_COUNT + 1):
            pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((96, 96)).save(images / f"ILSVRC2012_val_{number:08d}.JPEG")
        onnx = make_colour_classifier(place / "colour.onnx")
        slow = ["--engine", "constant", "--set", f"images_per_second={IMAGES_PER_SECOND}"]
        run(sys.executable, "-m", "assay", "compile", onnx, place / "model", *slow)
        run(
            *(sys.executable, "-m", "assay", "evaluate", place / "model", "--images", images),
            *("--shard-size", SHARD_SIZE, "-o", place / "one"),
        )
        self.expected = {part.name: part.read_bytes() for part in (place / "one" / "predictions").iterdir()}
        for folder in (images, place / "model"):
            for file in folder.iterdir():
                key = f"{folder.name}/{file.name}"
                self.client.put_object(Bucket="bucket", Key=key, Body=file.read_bytes())


@contextlib.contextmanager
def open_bench(place: Path) -> Iterator[Bench]:
    """Namespaces, bucket and cluster, whole and filled; all of it goes with the block."""
    bench = Bench(place=place)
    bench.recover()
    with make_namespaces():
        store = subprocess.Popen(
            inside("s", sys.executable, __file__, "--serve", place), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            endpoint = f"http://{ADDRESSES['s']}:{UPSTREAM}"
            wait_for_url(f"{endpoint}/moto-api/")
            bench.client = boto3.client(
                "s3", endpoint_url=endpoint, region_name="us-east-1",
                aws_access_key_id="test", aws_secret_access_key="test",
            )  # fmt: skip
            bench.client.create_bucket(Bucket="bucket")
            bench.fill_bucket()
            bench.mend()
            yield bench
        finally:
            for session in (*bench.commands, store.pid):
                end_session(session)
            for node in list(bench.nodes):
                bench.kill_node(node)


def wait_for_url(url: str) -> None:
    """Wait until somebody answers there."""
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.5)


if __name__ == "__main__":
    serve(Path(sys.argv[2]))
