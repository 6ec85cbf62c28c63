"""`python3 -m ais_bench`: input folder to result folder, with the tool's batches, names, modes and texts."""

from __future__ import annotations

import argparse
import json
import math
import re
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ais_bench.infer.interface import IS_NEWER, InferSession, check_path


def read_model_path(text: str) -> str:
    try:
        check_path(text)
    except RuntimeError as error:
        print(error)
        raise argparse.ArgumentTypeError(f"model path:{text} is illegal. Please check.") from None
    return text


def read_output_path(text: str) -> str:
    """An output folder that is there may not be read or written by others: 0755 is refused."""
    if Path(text).exists() and stat.S_IMODE(Path(text).stat().st_mode) & 0o027:
        raise argparse.ArgumentTypeError(f"output path:{text} is illegal. Please check.")
    return text


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ais_bench")
    checks: dict[str, Any] = (
        {"model": read_model_path, "output": read_output_path} if IS_NEWER else {"model": str, "output": str}
    )
    parser.add_argument("--model", "-m", required=True, type=checks["model"])
    parser.add_argument("--input", "-i")
    parser.add_argument("--output", "-o", type=checks["output"])
    parser.add_argument("--output_dirname")
    parser.add_argument("--outfmt", default="BIN", choices=["NPY", "BIN", "TXT"])
    parser.add_argument("--batchsize", type=int)
    parser.add_argument("--dymBatch", type=int, default=0)
    parser.add_argument("--device", "-d", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    options = parse(sys.argv[1:])
    print("[INFO] acl init success")
    session = InferSession(options.device, options.model)
    print(f"[INFO] load model {options.model} success")
    files = sorted(
        (path for path in Path(options.input).iterdir() if path.suffix.lower() in {".bin", ".npy"}),
        key=lambda path: [
            int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(path).lower())
        ],
    )
    if IS_NEWER:
        for path in files:
            check_path(str(path))
    description = session.get_inputs()[0]
    tensor_bytes, file_bytes = description.realsize, files[0].stat().st_size
    if options.dymBatch:
        tensor_bytes = options.dymBatch * file_bytes
    if tensor_bytes % file_bytes:
        print(f"[ERROR] arg0 tensorsize: {tensor_bytes} filesize: {file_bytes} not match")
        raise RuntimeError
    per_batch = tensor_bytes // file_bytes
    runs = math.ceil(len(files) / per_batch)
    print(
        f"[INFO] get filesperbatch files0 size:{file_bytes} tensor0size:{tensor_bytes} "
        f"filesperbatch:{per_batch} runcount:{runs}"
    )
    folder = Path(options.output) / options.output_dirname
    folder.mkdir(mode=0o750, exist_ok=True)
    infos: dict[str, Any] = {}
    mode = "dymbatch" if options.dymBatch else "static"
    for run in range(runs):
        batch = files[run * per_batch : (run + 1) * per_batch]
        padded = batch + batch[:1] * (per_batch - len(batch))  # by the first file of the batch
        raw = b"".join(path.read_bytes() for path in padded)
        array = np.frombuffer(raw, dtype=np.int8).reshape(per_batch, -1)
        logits = session.infer([array], mode)[0]
        for path, row in zip(batch, np.split(logits, per_batch)[: len(batch)], strict=True):
            out = folder / f"{path.name.split('.')[0]}_0.npy"
            np.save(out, row)
            infos[str(len(infos))] = {"infiles": [str(path)], "outfiles": [str(out)]}
    summary = session.summary() if IS_NEWER else session.sumary()
    times = summary.exec_time_list
    content = {"filesinfo": infos, "npu_compute_time_list": times, "throughput": 0.0}
    Path(f"{folder}_summary.json").write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
