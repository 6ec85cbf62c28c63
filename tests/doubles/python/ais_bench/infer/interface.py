"""InferSession as the tool has it, over ONNX Runtime on the CPU instead of a chip."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

DEVICE_COUNT = int(os.environ.get("ASSAY_DOUBLE_DEVICES", "1"))
LOST_DEVICE = int(os.environ.get("ASSAY_DOUBLE_LOST_DEVICE", "-1"))
HANGING_DEVICE = int(os.environ.get("ASSAY_DOUBLE_HANGING_DEVICE", "-1"))
IS_NEWER = os.environ.get("ASSAY_DOUBLE_GENERATION", "2024") == "2024"


@dataclass
class TensorDescription:
    """What get_inputs() lists; size and realsize in bytes."""

    name: str
    shape: list[int]
    size: int
    realsize: int
    format: int = 0


@dataclass
class Summary:
    exec_time_list: list[Any]


def check_path(path: str) -> None:
    """The rules of the generation of 2024 for files that are read."""
    if not re.fullmatch(r"[A-Za-z0-9_\-/.]+", str(Path(path).absolute())):
        raise RuntimeError(
            f"[ERROR] path:{path} contains illegal char, legal chars include A-Z a-z 0-9 _ - / ."
        )
    if Path(path).is_symlink():
        raise RuntimeError(f"[ERROR] path :{path} is a soft link, not supported")
    if stat.S_IMODE(Path(path).stat().st_mode) & 0o022:
        raise RuntimeError(f"[ERROR] path :{path} is group writable, or is others writable")


class InferSession:
    def __init__(
        self,
        device_id: int,
        model_path: str,
        acl_json_path: str | None = None,
        debug: bool = False,
        loop: int = 1,
    ) -> None:
        if IS_NEWER:
            check_path(model_path)
        if device_id >= DEVICE_COUNT:
            os.write(1, f"[ERROR] acl open device {device_id} failed\n".encode())
            raise RuntimeError("[1][ACL:invalid device id]")
        head, _, body = Path(model_path).read_bytes().partition(b"\n")
        try:
            self.about = json.loads(head)
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            self._session = onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])
        except Exception:
            os.write(1, f"[ERROR] load model from file failed, model file is {model_path}\n".encode())
            raise RuntimeError("[1][ACL:invalid parameter]") from None
        chip = os.environ.get("ASSAY_DOUBLE_CHIP", self.about["soc_version"])
        if self.about["soc_version"] != chip:
            raise RuntimeError("[500002][ACL: GE failure] Model soc version is not support in this device.")
        kind = self._session.get_inputs()[0].type.removeprefix("tensor(").removesuffix(")")
        self._dtype = np.dtype({"float": "float32"}.get(kind, kind))
        self._times: list[Any] = []
        self._device_id = device_id

    def get_inputs(self) -> list[TensorDescription]:
        dims = self.about["dims"]
        value_bytes = 1 if self.about["aipp"] else self._dtype.itemsize
        batch = dims[0] if dims[0] > 0 else max(self.about["gears"])
        size = batch * int(np.prod(dims[1:])) * value_bytes
        return [TensorDescription(self.about["input"], dims, size, size)]

    def infer(self, feeds: list[Any], mode: str = "static", custom_sizes: int = 100000) -> list[Any]:
        del custom_sizes
        array = feeds[0]
        if IS_NEWER and mode not in {"static", "dymbatch", "dymhw", "dymdims", "dymshape"}:
            raise RuntimeError(f"wrong infer_mode:{mode}")
        if self._device_id == LOST_DEVICE and self._times:
            print(f"[ERROR] device {self._device_id} lost heartbeat")
            raise RuntimeError("[507010][ACL: runtime lost heartbeat]")
        while self._device_id == HANGING_DEVICE and self._times:
            time.sleep(1)
        batch = self._choose_batch(len(array) if mode == "dymbatch" else 0)
        raw = array.tobytes() if IS_NEWER else _read_memory(array)
        images = self._read_images(raw, batch)
        start = time.perf_counter()
        kept = [self.about["output"]] if self.about["output"] else None
        logits = self._session.run(kept, {self.about["input"]: images})[0]
        end = time.perf_counter()
        self._times.append((1000 * start, 1000 * end) if IS_NEWER else 1000 * (end - start))
        if "fp16" in self.about["precision_mode"] or self.about["precision_mode"] == "allow_mix_precision":
            logits = logits.astype(np.float16)
        return [logits.astype(np.float32)]

    def _choose_batch(self, asked: int) -> int:
        gears = self.about["gears"]
        if not gears:
            return int(self.about["dims"][0])
        if asked and asked not in gears:
            raise RuntimeError("[ERROR] set dynamic batchsize failed: not a gear")
        return int(asked or max(gears))

    def _read_images(self, raw: bytes, batch: int) -> Any:
        """Only the byte count is checked, as by the tool."""
        sizes = self.about["dims"][1:]
        needed = batch * int(np.prod(sizes)) * (1 if self.about["aipp"] else self._dtype.itemsize)
        if len(raw) != needed:
            print(
                f"[ERROR] check i:0 name:{self.about['input']} in size:{len(raw)} needsize:{needed} not match"
            )
            raise RuntimeError("[1][ACL:invalid parameter]")
        if not self.about["aipp"]:
            return np.frombuffer(raw, dtype=self._dtype).reshape(batch, *sizes)
        channels, height, width = sizes
        pixels = np.frombuffer(raw, dtype=np.uint8).reshape(batch, height, width, channels)
        return apply_aipp(pixels, self.about["aipp"])

    def summary(self) -> Summary:
        if not IS_NEWER:
            raise AttributeError("summary")
        return Summary(self._times)

    def reset_summaryinfo(self) -> None:
        self._times = []

    def free_resource(self) -> None:
        self._session = None

    if not IS_NEWER:
        del summary, reset_summaryinfo, free_resource

        def sumary(self) -> Summary:
            return Summary(self._times)

        def reset_sumaryinfo(self) -> None:
            self._times = []

        def finalize(self) -> None:
            self._session = None


def apply_aipp(pixels: Any, text: str) -> Any:
    """(value - min_chn) * var_reci_chn by channel, with the constants in float16, as the chip has them."""
    entries = dict(re.findall(r"([a-z_0-9]+)\s*:\s*(\S+)", text))
    low = np.array([float(entries[f"min_chn_{place}"]) for place in range(3)], dtype=np.float16)
    factor = np.array([float(entries[f"var_reci_chn_{place}"]) for place in range(3)], dtype=np.float16)
    values = (pixels.astype(np.float32) - low.astype(np.float32)) * factor.astype(np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _read_memory(array: Any) -> bytes:
    """The generation of 2023 takes the bytes from the pointer on: wrong ones of a view with gaps."""
    if array.flags.c_contiguous:
        return bytes(array.tobytes())
    return bytes(
        np.lib.stride_tricks.as_strided(array, (array.nbytes // array.itemsize,), (array.itemsize,)).tobytes()
    )
