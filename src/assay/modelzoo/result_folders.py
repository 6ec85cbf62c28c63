"""Writes results as the inference tool does: a folder, a file for each input file, the summary beside it."""

from __future__ import annotations

import datetime
import io
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from assay.arrays import Logits
from assay.errors import UsageError, quote
from assay.files import encode_json, escape_name
from assay.modelzoo.bin_files import FOLDER_MODE, write_tool_file

OutputFormat = Literal["TXT", "BIN", "NPY"]
STAMP_FORMAT = "%Y_%m_%d-%H_%M_%S"
PURE_STEM = "pure_infer_data"
_RESULT_FILE = re.compile(r".+_[0-9]+\.(txt|bin|npy)|sum?mary\.json")


@dataclass(frozen=True, kw_only=True)
class ResultPlace:
    """Where the results go, as text: paths of the summary stay as they were given."""

    folder: str

    @property
    def summary_path(self) -> Path:
        """The summary's file: its presence says that the run was completed."""
        return Path(f"{self.folder}_summary.json")

    def name_result(self, stem: str, output_format: OutputFormat) -> str:
        """The path of an input file's result; the network has one output, 0."""
        return f"{self.folder}/{stem}_0.{output_format.lower()}"


def choose_folder(output: str, dirname: str | None, stems: Sequence[str], suffix: str) -> ResultPlace:
    """Where the results go, after checking that nothing of another run would stay among them.

    Without a name the folder is called by the local time, and no other run's has that name.

    Args:
        output: The folder in which the result folder is made.
        dirname: The result folder's name, or None.
        stems: What will be written.
        suffix: Of what will be written, such as `txt`.

    Raises:
        UsageError: A name that is a path, or a folder that holds other files.
    """
    root = output.rstrip("/") or "/"
    if dirname is None:
        return ResultPlace(folder=_find_free_stamp(root))
    if Path(dirname).is_absolute() or ".." in Path(dirname).parts or dirname.strip() in ("", "."):
        raise UsageError(f"--output-dirname {quote(dirname)}: expected a name in {output}, not a path")
    place = ResultPlace(folder=f"{root}/{dirname.rstrip('/')}")
    folder = Path(place.folder)
    if folder.exists():
        written = {f"{stem}_0.{suffix}" for stem in stems}
        foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in written)
        if foreign:
            raise UsageError(
                f"{folder}: holds files that this run does not write, such as {escape_name(foreign[0])}",
                hint="stale results would be scored with the new ones: remove them, or choose another name",
            )
    return place


def _find_free_stamp(root: str) -> str:
    while True:
        stamp = datetime.datetime.now().astimezone().strftime(STAMP_FORMAT)
        folder = f"{root}/{stamp}"
        if not Path(folder).exists():
            return folder
        time.sleep(0.05)  # another run of this second has taken the name


def make_folder(place: ResultPlace) -> None:
    """Make the folder, mode 0750, and remove the summary of an earlier run into it."""
    folder = Path(place.folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    folder.chmod(FOLDER_MODE)  # whatever the umask is
    place.summary_path.unlink(missing_ok=True)


def encode_result(logits: Logits, output_format: OutputFormat) -> bytes:
    r"""The bytes of one result file.

    TXT is a line for each row, its values with six decimals and a blank behind each; BIN the bare values;
    NPY an array with its shape.

    >>> encode_result(np.array([[12.3359375, -0.5, 1e-7]], dtype=np.float32), "TXT")
    b'12.335938 -0.500000 0.000000 \n'

    Args:
        logits: float32 (rows, classes).
        output_format: One of the three.
    """
    if output_format == "BIN":
        return logits.tobytes()
    if output_format == "NPY":
        stream = io.BytesIO()
        np.save(stream, logits)
        return stream.getvalue()
    pattern = "%f " * logits.shape[1] + "\n"
    return "".join(pattern % tuple(row) for row in logits.tolist()).encode("ascii")


def write_result(path: str, logits: Logits, output_format: OutputFormat) -> None:
    """Write one result file, float32 (rows, classes), whole or not at all, mode 0640."""
    write_tool_file(Path(path), encode_result(logits, output_format))


def summarise_times(times_ms: Sequence[float]) -> dict[str, float]:
    """The figures that the tool makes of a list of times; all 0 where nothing was measured."""
    if not times_ms:
        return {"min": 0.0, "max": 0.0, "mean": 0.0, "median": 0.0, "percentile(99%)": 0.0, "count": 0}
    return {
        "min": min(times_ms),
        "max": max(times_ms),
        "mean": float(np.mean(times_ms)),
        "median": float(np.median(times_ms)),
        "percentile(99%)": float(np.percentile(times_ms, 99)),
        "count": len(times_ms),
    }


def compute_throughput(batch_size: int, times_ms: Sequence[float]) -> float:
    """Images per second as the tool computes them: padded places count."""
    mean = float(np.mean(times_ms)) if times_ms else 0.0
    return 1000 * batch_size / mean if mean else 0.0


def make_summary(
    outfiles: Mapping[str, str], arguments: Sequence[str], times_ms: Sequence[float], throughput: float
) -> dict[str, object]:
    """The document of the summary file, its keys in the tool's order and `clock` behind them.

    Host-to-device and device-to-host times are not measured: their count is 0.

    Args:
        outfiles: The result file of each input file.
        arguments: The command line.
        times_ms: Milliseconds of each run of the network, on the `call` clock.
        throughput: Images per second.
    """
    pairs = enumerate(outfiles.items())
    return {
        "filesinfo": {str(place): {"infiles": [source], "outfiles": [out]} for place, (source, out) in pairs},
        "args": list(arguments),
        "NPU_compute_time": summarise_times(times_ms),
        "H2D_latency": summarise_times(()),
        "D2H_latency": summarise_times(()),
        "npu_compute_time_list": list(times_ms),
        "throughput": throughput,
        "pid": os.getpid(),
        "clock": "call",
    }


def write_summary(place: ResultPlace, summary: Mapping[str, object]) -> None:
    """Write the summary beside the folder, mode 0640."""
    write_tool_file(place.summary_path, encode_json(summary))


def format_performance(batch_size: int, times_ms: Sequence[float]) -> list[str]:
    """The lines that the newest tool prints of a run's speed."""
    times = summarise_times(times_ms)
    return [
        "[INFO] -----------------Performance Summary------------------",
        f"[INFO] NPU_compute_time (ms): min = {times['min']}, max = {times['max']}, mean = {times['mean']}, "
        f"median = {times['median']}, percentile(99%) = {times['percentile(99%)']}",
        f"[INFO] throughput 1000*batchsize.mean({batch_size})/NPU_compute_time.mean({times['mean']}): "
        f"{compute_throughput(batch_size, times_ms)}",
        "[INFO] ------------------------------------------------------",
    ]
