"""A session that lets `python3 -m ais_bench` run staged files: for a tool that another Python has."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from assay.arrays import Batch, Logits
from assay.engines.arrays import check_images, check_logits_shape
from assay.engines.ascend.model_input import ModelInput
from assay.engines.ascend.staging import make_folder, stage_model, write_file
from assay.engines.compiled_model import CompiledModel
from assay.engines.engine import SessionDescription
from assay.errors import EngineError, MissingRuntimeError, shorten
from assay.files import make_temporary_folder
from assay.interrupts import wrap_command

CALL_SIZE = 1024  # images that are staged for one run of the tool, which loads the model each time


class AisBenchProcess:
    """See `Session`. Each call is one run of the tool, which cuts and pads the batches itself.

    Args:
        compiled: What was compiled.
        om_path: The model's file.
        model_input: What it takes.
    """

    concurrency = 1

    def __init__(self, compiled: CompiledModel, om_path: Path, model_input: ModelInput) -> None:
        self._compiled = compiled
        self._input = model_input
        self._device_ms: list[float] = []
        self._is_open = True
        self._python = compiled.settings.get("python", "python3")
        self._check_tool()
        self._staging = ExitStack()
        staged = self._staging.enter_context(make_temporary_folder("om"))
        self._om_path = stage_model(om_path, staged)

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`."""
        return SessionDescription(
            runtime=f"{self._compiled.engine_version}, {self._python} -m ais_bench",
            device_name=self._compiled.settings["soc_version"],
            stream_count=1,
            takes_pixels=self._input.takes_pixels,
        )

    def run(self, images: Batch) -> Logits:
        """See `Session.run`."""
        if not self._is_open:
            raise ValueError("the session is closed")
        check_images(images, self._compiled.model, None, takes_pixels=self._input.takes_pixels)
        with make_temporary_folder("ais_bench") as place:
            staged = make_folder(place / "input")
            for number, row in enumerate(self._input.suit_model(images, self._compiled.model)):
                write_file(staged / f"{number:08d}.bin", row.tobytes())
            self._run_tool(staged, place / "output")
            return self._read_results(place / "output", len(images))

    def take_device_ms(self) -> tuple[float, ...]:
        """See `Session.take_device_ms`: from the tool's summary."""
        times, self._device_ms = tuple(self._device_ms), []
        return times

    def close(self) -> None:
        """See `Session.close`."""
        self._is_open = False
        self._staging.close()

    def _check_tool(self) -> None:
        done = self._start([self._python, "-m", "ais_bench", "--help"])
        if done.returncode != 0:
            raise MissingRuntimeError(
                f"{self._python} cannot run ais_bench: {_find_reason(done)}",
                hint="give the Python that has the aclruntime and ais_bench wheels: --set python=PATH",
            )

    def _run_tool(self, staged: Path, output: Path) -> None:
        command = [self._python, "-m", "ais_bench", "--model", str(self._om_path), "--input", str(staged)]
        command += ["--output", str(make_folder(output)), "--output_dirname", "results", "--outfmt", "NPY"]
        largest = str(self._input.sizes[-1])
        command += ["--batchsize", largest, "--device", self._compiled.settings.get("device_id", "0")]
        if len(self._input.sizes) > 1:
            command += ["--dymBatch", largest]
        done = self._start(command)
        summary = next((path for path in _list_summaries(output) if path.is_file()), None)
        if done.returncode != 0 or summary is None:
            raise EngineError(f"ais_bench failed with exit status {done.returncode}: {_find_reason(done)}")
        times = json.loads(summary.read_text(encoding="utf-8")).get("npu_compute_time_list", [])
        self._device_ms += [entry[1] - entry[0] if isinstance(entry, list) else entry for entry in times]

    def _read_results(self, output: Path, count: int) -> Logits:
        rows = []
        for number in range(count):
            path = output / "results" / f"{number:08d}_0.npy"
            try:
                rows.append(np.load(path, allow_pickle=False).reshape(-1))
            except (OSError, ValueError) as error:
                raise EngineError(f"ais_bench left no result for image {number}: {shorten(error)}") from error
        logits = np.array(rows, dtype=np.float32)  # (N, classes)
        check_logits_shape(logits.shape, count, self._compiled.model)
        return logits

    def _start(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                wrap_command(command),
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise MissingRuntimeError(
                f"{command[0]} cannot be started: {error.strerror}", hint="give it with --set python=PATH"
            ) from error


def _list_summaries(output: Path) -> list[Path]:
    """Where the generations of the tool put their summary, the newest first."""
    inside = output / "results"
    return [output / "results_summary.json", inside / "summary.json", inside / "sumary.json"]


def _find_reason(done: subprocess.CompletedProcess[Any]) -> str:
    """Return the tool's own error line: on stdout, before a traceback without a message on stderr."""
    lines = [line.strip() for line in done.stdout.splitlines() if "ERROR" in line]
    lines += [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
    return lines[0] if lines else "it said nothing"
