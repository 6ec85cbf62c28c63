"""What faults cost on a Ray cluster: three nodes in namespaces of their own, a bucket in a fourth.

Each trial is a run with one fault in its middle: the store throttles, refuses, is slow, cuts bodies short,
credentials expire, a node is refused alone, killed, or joins; the control store or the head's link goes, the
command is killed. Images, model and results are in the bucket. A run that does not end well is resumed. What
counts is in the bucket: rows lost, rows doubled, parts that are not, byte for byte, those of one process.
Needs root (for `ip netns`) and moto; the engine is `constant`, so that time is spent waiting.

    python benchmarks/cluster_faults.py ["denied for 10 s" ...]
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow.parquet as pq
from moto.server import ThreadedMotoServer
from PIL import Image

from assay.workflows.cluster.sessions import end_session, list_session

NODES = ("a", "b", "c")
ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2", "c": "10.77.0.3", "s": "10.77.0.4", "host": "10.77.0.9"}
PROXY, UPSTREAM, RAY_PORT = 9000, 5000, 6390
IMAGE_COUNT, SHARD_SIZE, IMAGES_PER_SECOND = 360, 6, 6
QUERY = "region=us-east-1"


def run(*command: object) -> None:
    """Run a command of the system; what it says is shown where it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr}")


def inside(name: str, *command: object) -> list[str]:
    """The command in the namespace of that name."""
    return ["ip", "netns", "exec", f"assay-{name}", *map(str, command)]


@contextlib.contextmanager
def make_namespaces() -> Iterator[None]:
    """Four namespaces on one bridge, to which this process belongs too."""
    run("ip", "link", "add", "assay-br", "type", "bridge")
    try:
        run("ip", "addr", "add", f"{ADDRESSES['host']}/24", "dev", "assay-br")
        run("ip", "link", "set", "assay-br", "up")
        for name in (*NODES, "s"):
            run("ip", "netns", "add", f"assay-{name}")
            run(
                "ip",
                "link",
                "add",
                f"assay-{name}0",
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                f"assay-{name}",
            )
            run("ip", "link", "set", f"assay-{name}0", "master", "assay-br", "up")
            run(*inside(name, "ip", "addr", "add", f"{ADDRESSES[name]}/24", "dev", "eth0"))
            run(*inside(name, "ip", "link", "set", "eth0", "up"))
            run(*inside(name, "ip", "link", "set", "lo", "up"))
        yield
    finally:
        for name in (*NODES, "s"):
            subprocess.run(["ip", "netns", "del", f"assay-{name}"], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", "assay-br"], capture_output=True, check=False)


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on to moto, or fails them as the file of faults says."""

    protocol_version = "HTTP/1.1"
    faults: Path

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def pass_on(self) -> None:
        """Answer a request."""
        fault = json.loads(self.faults.read_text())
        body = self.read_body()
        is_meant = time.time() < fault["until"] and fault["who"] in ("", self.client_address[0])
        kind = fault["kind"] if is_meant else ""
        if kind == "expired" and f"Credential={fault['key']}/" in self.headers.get("Authorization", ""):
            self.answer(400, b"<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>")
        elif kind == "throttle":
            self.answer(503, b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>")
        elif kind == "deny":
            self.answer(403, b"<Error><Code>AccessDenied</Code><Message>denied</Message></Error>")
        else:
            upstream = http.client.HTTPConnection("127.0.0.1", UPSTREAM, timeout=30)
            kept = {
                key: value
                for key, value in self.headers.items()
                if key.lower() not in ("transfer-encoding", "expect")
            }
            upstream.request(self.command, self.path, body, {**kept, "Content-Length": str(len(body))})
            answered = upstream.getresponse()
            content = answered.read()
            upstream.close()
            self.answer(answered.status, content, dict(answered.getheaders()), kind)

    def read_body(self) -> bytes:
        """The body of the request, however it is sent."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, kind: str = ""
    ) -> None:
        """Answer, slowly or in part where that is the fault."""
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        self.end_headers()
        is_object = self.command == "GET" and len(content) > 1000
        if self.command == "HEAD":
            return
        if is_object and kind == "slow":
            for start in range(0, len(content), 500):
                self.wfile.write(content[start : start + 500])
                self.wfile.flush()
                time.sleep(0.2)
        elif is_object and kind == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815


def serve(faults: Path) -> None:
    """Serve the bucket in this process's namespace until it is killed."""
    ThreadedMotoServer(ip_address="0.0.0.0", port=UPSTREAM).start()
    Proxy.faults = faults
    server = ThreadingHTTPServer(("0.0.0.0", PROXY), Proxy)
    server.daemon_threads = True
    server.serve_forever()


@dataclass
class Bench:
    """The cluster, the bucket, and what is known of both."""

    place: Path
    expected: dict[str, bytes] = field(default_factory=dict)
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    client: Any = None

    @property
    def faults(self) -> Path:
        """The file that the proxy reads."""
        return self.place / "faults.json"

    def fail(self, kind: str, seconds: float, who: str = "", key: str = "test") -> None:
        """Let the store fail for so long, for one address or all."""
        fault = {"kind": kind, "until": time.time() + seconds, "who": who, "key": key}
        temporary = self.place / "faults.new"
        temporary.write_text(json.dumps(fault))
        temporary.replace(self.faults)

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
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        }

    def start_node(self, name: str) -> None:
        """Start Ray in the node's namespace."""
        (self.place / name).mkdir(exist_ok=True)
        ray = Path(sys.executable).parent / "ray"
        where = (
            ["--head", "--port", RAY_PORT] if name == "a" else ["--address", f"{ADDRESSES['a']}:{RAY_PORT}"]
        )
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

    def command(self, url: str, *more: str) -> list[str]:
        """The command line of a run."""
        model, images = f"s3://bucket/model?{QUERY}", f"s3://bucket/val?{QUERY}"
        ray = ["--ray", f"{ADDRESSES['a']}:{RAY_PORT}"]
        tail = ["--shard-size", str(SHARD_SIZE), "-o", url, *ray, *more]
        return [sys.executable, "-m", "assay", "evaluate", model, "--images", images, *tail]

    def list_parts(self, name: str) -> dict[str, bytes]:
        """The parts of a run in the bucket, by name."""
        listed = self.client.list_objects_v2(Bucket="bucket", Prefix=f"{name}/predictions/").get(
            "Contents", []
        )
        keys = [each["Key"] for each in listed]
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
        rows = [
            row
            for part in parts.values()
            for row in pq.read_table(io.BytesIO(part)).column("name").to_pylist()
        ]
        lost = IMAGE_COUNT - len(set(rows))
        other = sum(self.expected.get(part) != content for part, content in parts.items())
        return f"{lost:>5}{len(rows) - len(set(rows)):>8}{other:>7}"


Act = Callable[[Bench, subprocess.Popen[str]], None]


def lose_credentials(bench: Bench, _: subprocess.Popen[str]) -> None:
    """The key in use expires for good; five seconds later the file holds a new one."""
    bench.fail("expired", 1e6)
    time.sleep(5)
    bench.write_key("new")


def kill_control_store(bench: Bench, _: subprocess.Popen[str]) -> None:
    """Kill the control store alone."""
    for process in list_session(bench.nodes["a"].pid):
        with contextlib.suppress(OSError):
            if b"gcs_server" in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0]:
                os.kill(process, signal.SIGKILL)


def cut_head(_bench: Bench, _: subprocess.Popen[str]) -> None:
    """Take the head's link away; the command runs on another node."""
    run(*inside("a", "ip", "link", "set", "eth0", "down"))


def kill_command(_: Bench, command: subprocess.Popen[str]) -> None:
    """SIGKILL for the command itself."""
    command.kill()


def make_fault(kind: str, seconds: float, who: str = "") -> Act:
    """A fault of the store."""
    return lambda bench, _: bench.fail(kind, seconds, ADDRESSES.get(who, ""))


TRIALS: dict[str, Act] = {
    "undisturbed": lambda *_: None,
    "throttled for 10 s": make_fault("throttle", 10),
    "denied for 10 s": make_fault("deny", 10),
    "denied for 90 s": make_fault("deny", 90),
    "slow bodies for 15 s": make_fault("slow", 15),
    "bodies cut short for 10 s": make_fault("cut", 10),
    "credentials expire": lose_credentials,
    "one node is denied": make_fault("deny", 1e6, "c"),
    "a node is killed": lambda bench, _: bench.kill_node("b"),
    "a node joins": lambda bench, _: bench.start_node("b"),
    "the command is killed": kill_command,
    "control store is killed": kill_control_store,
    "head is cut off": cut_head,
}
ON_ANOTHER_NODE = {"head is cut off"}


def start(
    bench: Bench, url: str, node: str, *more: str
) -> tuple[subprocess.Popen[str], list[tuple[float, str]]]:
    """Start the command on a node, and collect its lines with their times."""
    command = subprocess.Popen(
        inside(node, *bench.command(url, *more)), env=bench.make_environment(node), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    lines: list[tuple[float, str]] = []

    def listen() -> None:
        assert command.stderr is not None
        lines.extend((time.monotonic(), line.rstrip()) for line in command.stderr)

    threading.Thread(target=listen, daemon=True).start()
    return command, lines


def try_fault(bench: Bench, trial: str) -> None:
    """Run once with the fault, resume until it is finished, and print what became of it."""
    name = trial.replace(" ", "-")
    url, node = f"s3://bucket/{name}?{QUERY}", "b" if trial in ON_ANOTHER_NODE else "a"
    bench.write_key("test")
    bench.fail("", 0)
    if trial == "a node joins":
        bench.kill_node("b")
    begin = time.monotonic()
    command, lines = start(bench, url, node)
    while command.poll() is None and len(bench.list_parts(name)) < 6:
        time.sleep(0.2)
    hurt = time.monotonic()
    TRIALS[trial](bench, command)
    status = command.wait()
    end = time.monotonic()
    end_session(command.pid)
    time.sleep(0.5)
    said = [when for when, line in lines if when > hurt and "Evaluating:" not in line]
    noticed = f"{min(said) - hurt:.0f}" if said else ""
    row = f"{trial:<27}{status:>5}{end - begin:>7.0f}{end - hurt:>8.0f}{noticed:>9}"
    print(f"{row}  {bench.read_status(name):<12}{bench.judge(name)}", flush=True)
    for _, line in lines:
        if "Evaluating:" not in line and line:
            print(f"      {line[:150]}", flush=True)
    for again in range(3):
        if status == 0:
            break
        mend(bench)
        begin = time.monotonic()
        command, lines = start(bench, url, "a", "--resume")
        status = command.wait()
        row = (
            f"  resumed{'' if not again else ' again':<18}{status:>6}{time.monotonic() - begin:>7.0f}{'':>17}"
        )
        print(f"{row}  {bench.read_status(name):<12}{bench.judge(name)}", flush=True)
        if status:
            print(
                "\n".join(f"      {line[:150]}" for _, line in lines if "Evaluating:" not in line), flush=True
            )
    mend(bench)


def mend(bench: Bench) -> None:
    """Make the store well and the cluster whole."""
    bench.fail("", 0)
    run(*inside("a", "ip", "link", "set", "eth0", "up"))
    head = bench.nodes.get("a")
    is_head_well = head is not None and any(
        b"gcs_server" in Path(f"/proc/{process}/cmdline").read_bytes() for process in list_session(head.pid)
    )
    if not is_head_well or not is_reachable(bench):
        for name in list(bench.nodes):
            bench.kill_node(name)
    for name in NODES:
        if name in bench.nodes and bench.nodes[name].poll() is not None:
            bench.kill_node(name)
        if name not in bench.nodes:
            bench.start_node(name)
            if name == "a":
                wait_for_head(bench)
            wait_for_nodes(bench, len(bench.nodes))  # two that start at once take each other's files
    wait_for_nodes(bench, len(NODES))


def is_reachable(bench: Bench) -> bool:
    """Whether the control store answers in its namespace."""
    probe = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()"
    command = inside("a", sys.executable, "-c", probe, ADDRESSES["a"], RAY_PORT)
    return (
        subprocess.run(command, capture_output=True, check=False, env=bench.make_environment("a")).returncode
        == 0
    )


def wait_for_head(bench: Bench) -> None:
    """Wait until the control store answers."""
    while not is_reachable(bench):
        time.sleep(0.5)


def wait_for_nodes(bench: Bench, count: int) -> None:
    """Wait until so many nodes are alive."""
    probe = (
        "import os, sys, time; from ray._raylet import GcsClient\n"
        "client = GcsClient(address=sys.argv[1])\n"
        "def count(): return sum(n.state == 0 for n in client.get_all_node_info(timeout=10).values())\n"
        "while count() != int(sys.argv[2]): time.sleep(0.5)\n"
    )
    command = inside("a", sys.executable, "-c", probe, f"{ADDRESSES['a']}:{RAY_PORT}", count)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=bench.make_environment("a")
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


def fill_bucket(bench: Bench) -> None:
    """Images and compiled model into the bucket; what one process makes of them is what is expected."""
    random = np.random.default_rng(0)
    images, place = bench.place / "val", bench.place
    images.mkdir()
    for number in range(1, IMAGE_COUNT + 1):
        pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96)).save(images / f"ILSVRC2012_val_{number:08d}.JPEG")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from colour_classifier import make_colour_classifier

    onnx = make_colour_classifier(place / "colour.onnx")
    slow = ["--engine", "constant", "--set", f"images_per_second={IMAGES_PER_SECOND}"]
    run(sys.executable, "-m", "assay", "compile", onnx, place / "model", *slow)
    run(
        *(sys.executable, "-m", "assay", "evaluate", place / "model", "--images", images),
        *("--shard-size", SHARD_SIZE, "-o", place / "one"),
    )
    bench.expected = {part.name: part.read_bytes() for part in (place / "one" / "predictions").iterdir()}
    for folder in (images, place / "model"):
        for file in folder.iterdir():
            bench.client.put_object(Bucket="bucket", Key=f"{folder.name}/{file.name}", Body=file.read_bytes())


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left
    with tempfile.TemporaryDirectory(prefix="assay-faults-") as name, make_namespaces():
        bench = Bench(place=Path(name))
        bench.fail("", 0)
        bench.write_key("test")
        store = subprocess.Popen(
            inside("s", sys.executable, __file__, "--serve", bench.faults), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            endpoint = f"http://{ADDRESSES['s']}:{UPSTREAM}"
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=2).close()
                    break
                time.sleep(0.5)
            bench.client = boto3.client(
                "s3", endpoint_url=endpoint, region_name="us-east-1",
                aws_access_key_id="test", aws_secret_access_key="test",
            )  # fmt: skip
            bench.client.create_bucket(Bucket="bucket")
            fill_bucket(bench)
            print(
                "trial                       exit  all s after s  noticed  manifest    lost doubled  other",
                flush=True,
            )
            mend(bench)
            for trial in sys.argv[1:] or TRIALS:
                try_fault(bench, trial)
        finally:
            for node in list(bench.nodes):
                bench.kill_node(node)
            end_session(store.pid)


if __name__ == "__main__":
    main()
