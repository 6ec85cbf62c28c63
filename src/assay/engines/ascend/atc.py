"""Runs ATC: the command, its three signs of success, and advice for every error it is known to give."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadModelError, EngineError, MissingRuntimeError, UsageError
from assay.files import make_temporary_folder
from assay.interrupts import wrap_command
from assay.models.network_input import order_axes
from assay.models.record import ModelRecord

FRAMEWORK_ONNX = 5
ONNX_NAME = "model.onnx"
AIPP_NAME = "aipp.cfg"
OUTPUT_STEM = "model"
SUCCESS = "ATC run success"
COMMAND_NAME = "atc_command.txt"
# E10007: text; E10007: [PID: 10490] 2025-03-18-09:02:18.501.341 text
_CODED_LINE = re.compile(r"^([EW][0-9A-Z]\d{3,4}): (?:\[PID: \d+\] \S+ )?(.*)$", re.MULTILINE)
_RETIRED = {"--auto_tune_mode": "ATC no longer tunes; use CANN's aoe"}

_SHAPE_ADVICE = "the ONNX file's input is not what the model record says: check input.name and its sizes"
_GEAR_ADVICE = "dynamic_batch_size takes 2 to 100 sizes, and an ONNX file whose batch alone is dynamic"
_FILE_ADVICE = "check that the file is there and may be read, and that its disk is not full"
ADVICE = {
    "E10001": "a value is not one that this CANN knows: check --soc-version (its case too) and the settings",
    "E10002": _SHAPE_ADVICE,
    "E10003": "a value is not allowed; the message says why",
    "E10004": "an option is empty; a value with blanks or semicolons lost its quotation marks",
    "E10007": "the framework was not given: report this as a bug of assay",
    "E10009": "dynamic batch, image size and dims exclude one another",
    "E10011": _SHAPE_ADVICE,
    "E10012": _GEAR_ADVICE,
    "E10014": _SHAPE_ADVICE,
    "E10016": "the ONNX file has no input of that name: set input.name of the model record",
    "E10018": _GEAR_ADVICE,
    "E10035": _GEAR_ADVICE,
    "E10040": _GEAR_ADVICE,
    "E10041": "the ONNX file cannot be loaded: export it again",
    "E10049": _SHAPE_ADVICE,
    "E10052": "the AIPP file is wrong; let assay write one with --insert-op-conf rgb",
    "E10054": "an option is empty; a value with blanks or semicolons lost its quotation marks",
    "E10055": "this chip or this CANN does not support it; choose another setting or --soc-version",
    "E10501": "CANN's operators are not found: source set_env.sh, which sets ASCEND_OPP_PATH",
    "E13000": _FILE_ADVICE,
    "E13001": _FILE_ADVICE,
    "E13003": _FILE_ADVICE,
    "E16002": "CANN cannot read an operator of the ONNX file: export it with another opset, 11 to 18",
    "E19010": "the opset is too new for this CANN: export again with --opset 11 to 18",
    "E19999": "CANN failed inside: its log is in ~/ascend/log; check that toolkit, kernels and driver "
    "are of one release",
    "E40000": "compiling an operator failed: see ~/ascend/log, and try another precision",
    "E40021": "compiling an operator failed: see ~/ascend/log, and try another precision",
    "EC0010": "CANN's Python packages are missing: pip install attrs cython 'numpy<2' decorator sympy cffi "
    "pyyaml pathlib2 psutil protobuf==3.20.0 scipy requests absl-py, for the python3 that atc finds",
    "EZ3003": "the chip has no kernel for an operator: install the operator package of this chip (CANN 8.5 "
    "and later need it), or choose another precision",
    "EZ9999": "the chip's compiler failed inside: see ~/ascend/log",
}


@dataclass(frozen=True, kw_only=True)
class AtcOptions:
    """What ATC is told.

    Args:
        record: Name and sizes of the input.
        soc_version: The chip.
        batch_size: Of the compiled model; None with `gears`.
        gears: The batch sizes that a model with a dynamic batch can run.
        precision_mode: ATC's own name.
        aipp: Content of an AIPP file, or empty.
        output: The one to keep, of a file with several; empty where it has one.
        extra: More of ATC's options, as they are.
    """

    record: ModelRecord
    soc_version: str
    batch_size: int | None
    gears: Sequence[int]
    precision_mode: str
    aipp: str
    extra: Sequence[str]
    output: str = ""


def build_command(atc: Path, options: AtcOptions) -> list[str]:
    """Return the command, for a working folder that holds the ONNX file and the AIPP file.

    Raises:
        UsageError: An extra option that is retired, or that assay sets itself.
    """
    tensor = options.record.input
    shape = (-1 if options.gears else options.batch_size, *order_axes(tensor))
    command = [
        str(atc),
        f"--model={ONNX_NAME}",
        f"--framework={FRAMEWORK_ONNX}",
        f"--output={OUTPUT_STEM}",
        f"--input_format={'NCHW' if tensor.layout == 'NCHW' else 'ND'}",  # of ONNX files: no NHWC
        f"--input_shape={tensor.name}:{','.join(map(str, shape))}",
        "--log=error",
        f"--soc_version={options.soc_version}",
        f"--precision_mode={options.precision_mode}",
    ]
    if options.gears:
        command.append(f"--dynamic_batch_size={','.join(map(str, options.gears))}")
    if options.output:
        command.append(f"--out_nodes={options.output}")
    if options.aipp:
        command.append(f"--insert_op_conf={AIPP_NAME}")
    own = {part.partition("=")[0] for part in command[1:]}
    for part in options.extra:
        name = part.partition("=")[0]
        if name in _RETIRED or name in own or not name.startswith("--"):
            reason = _RETIRED.get(name, "assay sets it itself" if name in own else "expected --NAME=VALUE")
            raise UsageError(f"atc_options: {part}: {reason}")
    return [*command, *options.extra]


def run_atc(atc: Path, onnx_path: Path, compiled_dir: Path, options: AtcOptions) -> None:
    """Compile the ONNX file in a scratch folder; put the model and the command into `compiled_dir`.

    It is a success only if ATC exits with 0, says so, and the file is there.

    Raises:
        BadModelError: ATC refused; the message has its errors, the hint what to do.
        MissingRuntimeError: ATC cannot be started.
    """
    command = build_command(atc, options)
    with make_temporary_folder("atc") as scratch:
        (scratch / ONNX_NAME).symlink_to(onnx_path.resolve())
        if options.aipp:
            (scratch / AIPP_NAME).write_text(options.aipp, encoding="ascii")
        try:
            done = subprocess.run(
                wrap_command(command),
                cwd=scratch,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise MissingRuntimeError(f"{atc} cannot be started: {error.strerror}") from error
        made = sorted(scratch.glob(f"{OUTPUT_STEM}*.om"))
        if done.returncode != 0 or SUCCESS not in done.stdout or not made:
            raise explain_failure(onnx_path, done.returncode, done.stdout, done.stderr)
        shutil.copyfile(made[0], compiled_dir / f"{OUTPUT_STEM}.om")
        (compiled_dir / f"{OUTPUT_STEM}.om").chmod(0o640)  # the inference tool refuses more
    text = shlex.join(["atc", *command[1:]])
    (compiled_dir / COMMAND_NAME).write_text(f"{text}\n", encoding="utf-8")


def explain_failure(onnx_path: Path, exit_status: int, stdout: str, stderr: str) -> BadModelError:
    """Return the error for a run of ATC that failed: what it said, and what to do about it."""
    failure = f"atc cannot compile {onnx_path}"
    if "ERROR: " in stderr:
        line = next(line for line in stderr.splitlines() if "ERROR: " in line)
        return BadModelError(
            f"{failure}: {line.strip()}", hint="this CANN does not know an option: check atc_options"
        )
    found = [(code, text) for code, text in _CODED_LINE.findall(stdout + stderr) if code.startswith("E")]
    if found:
        code, text = found[0]
        more = f" (and {', '.join(code for code, _ in found[1:])})" if len(found) > 1 else ""
        known = ADVICE.get(code, "see CANN's list of error codes, and its log in ~/ascend/log")
        return BadModelError(f"{failure}: {code}: {text.strip()}{more}", hint=known)
    if "libascend_hal.so" in stderr:
        return BadModelError(
            f"{failure}: {stderr.strip().splitlines()[-1]}",
            hint="there is no driver on this machine: add ${ASCEND_TOOLKIT_HOME}/"
            f"{os.uname().machine}-linux/devlib to LD_LIBRARY_PATH",
        )
    if exit_status == 0:
        missing = "says nothing of success" if SUCCESS not in stdout else "wrote no .om file"
        return BadModelError(f"{failure}: it exited with 0 but {missing}", hint="check the disk's free space")
    last = (stderr.strip() or stdout.strip() or "it said nothing").splitlines()[-1]
    return BadModelError(
        f"{failure}: exit status {exit_status}: {last}", hint="see CANN's log in ~/ascend/log"
    )


def check_chip(compiled_for: str, chips: Sequence[str]) -> None:
    """Refuse a model that was compiled for another chip than is in this machine, before the chip does.

    Raises:
        EngineError: There are chips, and none is of that kind.
    """
    if chips and compiled_for not in chips:
        raise EngineError(
            f"the model was compiled for {compiled_for}; this machine has {', '.join(sorted(set(chips)))}",
            hint=f"compile it again with --soc-version {chips[0]}",
        )
