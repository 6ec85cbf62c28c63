"""Which processes and listening ports `assay evaluate --ray` has on this machine: before, during and after.

Runs the command to its end, then again and sends it SIGINT, SIGTERM and SIGKILL, each
once Ray computes, and looks at the processes whose session is the driver's, at their TCP sockets that listen,
and at Ray's folders. Exit status 1 where a port was open to other machines or something was left.

    python benchmarks/ray_ports.py COMPILED IMAGES
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from assay.workflows.cluster.sessions import list_session

ENDS_WITHIN_S = 5.0
LISTENING = "0A"


def find_driver(command: int) -> int | None:
    """The driver that a command has started; its process id is its session's."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == command and b"ray_driver" in (folder / "cmdline").read_bytes():
                return int(folder.name)
        except OSError:  # it has ended meanwhile
            continue
    return None


def list_ports(processes: list[int]) -> list[str]:
    """The addresses, as HOST:PORT in hexadecimal of /proc, at which the processes listen."""
    sockets = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.add(str(link.readlink()))
            except OSError:
                continue
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                found.append(fields[1])
    return found


def is_loopback(address: str) -> bool:
    """Whether an address of /proc/net/tcp or tcp6 is 127.0.0.0/8, ::1 or the first mapped into IPv6."""
    host = address.partition(":")[0]
    if host == "00000000000000000000000001000000":
        return True
    prefix, last = host[:-8], host[-8:]
    return prefix in ("", "0000000000000000FFFF0000") and last.endswith("7F")


def show(moment: str, processes: list[int], wait_s: float | None = None) -> bool:
    """Print a row of the table, and tell whether no port is open to other machines."""
    ports = list_ports(processes)
    folders = list(Path(tempfile.gettempdir()).glob("assay-ray-*"))
    open_to_others = sum(not is_loopback(port) for port in ports)
    seconds = "" if wait_s is None else f"{wait_s:.1f}"
    row = f"{moment:<28}{len(processes):>10}{len(ports):>7}{open_to_others:>16}{len(folders):>9}{seconds:>9}"
    print(row, flush=True)
    return not open_to_others


def run(compiled: Path, images: Path, folder: Path, sent: signal.Signals | None) -> bool:
    """Run the command once, and tell whether nothing was open or left."""
    name = sent.name if sent else "end"
    more = ["-o", str(folder / name), "--shard-size", "2", "-q", "--ray"]
    command = subprocess.Popen(
        [sys.executable, "-m", "assay", "evaluate", str(compiled), "--images", str(images), *more],
        stdout=subprocess.DEVNULL,
    )
    parts, driver = folder / name / "predictions", None
    while command.poll() is None and not any(parts.glob("part-*")):
        driver = driver or find_driver(command.pid)
        time.sleep(0.05)
    if driver is None:
        raise SystemExit(f"the command ended with {command.wait()} before Ray computed")
    is_closed = show("  computing", list_session(driver))
    if sent:
        command.send_signal(sent)
    command.wait()
    begin = time.monotonic()
    show(f"  after {name}", list_session(driver))
    while list_session(driver) and time.monotonic() < begin + ENDS_WITHIN_S:
        time.sleep(0.05)
    left = list_session(driver)
    show("  all gone", left, time.monotonic() - begin)
    return is_closed and not left


def main() -> None:
    """Print the table."""
    compiled, images = Path(sys.argv[1]), Path(sys.argv[2])
    print(f"{'moment':<28}{'processes':>10}{'ports':>7}{'not loopback':>16}{'folders':>9}{'after s':>9}")
    with tempfile.TemporaryDirectory() as name:
        good = [show("before", [])]
        signals = (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
        good += [run(compiled, images, Path(name), sent) for sent in signals]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
