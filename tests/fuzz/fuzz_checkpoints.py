"""Feeds damaged checkpoints to their reader by coverage: any error but our own is a find.

By hand, for as long as you like: python tests/fuzz/fuzz_checkpoints.py FOLDER -max_total_time=3600
FOLDER keeps the inputs that were worth keeping; a find is written to ./crash-….
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import tempfile
from pathlib import Path

import atheris
import numpy as np
import torch
from safetensors.torch import save_file
from watch import fuzz

with atheris.instrument_imports(include=["assay", "zipfile", "pickletools"]):
    from assay.checkpoint.choose_weights import choose_weights, list_tensor_names
    from assay.checkpoint.read_weights import read_content, recognise_format
    from assay.checkpoint.tensor_shapes import read_tensor_shapes
    from assay.errors import BadInputError
    from assay.models.inspection.form import recognise_form, refuse_unreadable

PLACE = Path(tempfile.mkdtemp()) / "weights.pth"
NAMES = ("a.weight", "a.bias")


def read(encoded: bytes) -> None:
    PLACE.write_bytes(encoded)
    with contextlib.suppress(BadInputError):
        content = read_content(PLACE, recognise_format(encoded[:512], PLACE))
        list_tensor_names(content)
        choose_weights(content, NAMES, PLACE)
    refuse_unreadable(PLACE, recognise_form(PLACE))
    read_tensor_shapes(PLACE)


def write_seeds(folder: Path) -> None:
    """Write a small checkpoint of every format, to begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {"a.weight": torch.ones(2, 2), "a.bias": torch.zeros(2, dtype=torch.float16)}
    beside = {
        "state_dict": weights,
        "args": argparse.Namespace(lr=0.1),
        "best": np.float64(1.0),
        "kinds": {1, 2},
    }
    beside |= {"counted": collections.Counter("aab"), "many": collections.defaultdict(list)}
    for name, content in (
        ("plain", weights),
        ("beside", beside),
        ("ordered", collections.OrderedDict(weights)),
    ):
        torch.save(content, folder / f"{name}_zip")
        torch.save(content, folder / f"{name}_legacy", _use_new_zipfile_serialization=False)
    save_file(weights, folder / "safetensors")


if __name__ == "__main__":
    fuzz(read, (BadInputError,), write_seeds, "-keep_seed=1", "-len_control=0")
