"""Which of planted faults `assay diagnose --only network` names by its first layer, and in what time.

A healthy float ONNX file is damaged in one layer at a time, in several forms: int8 with quantise/dequantise
pairs, float32, float32 with other names, float16. Each damaged build is compared with the float file.

    python benchmarks/diagnose_layers.py FLOAT.onnx --model RECORD --images DIR [--form int8] [--every 1]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from assay.arrays import Images
from assay.convert.graph_steps import Graph
from assay.convert.quantize import LAYER_TYPES, quantize_onnx, read_float_onnx
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_requested_images
from assay.images.sample_images import load_sample_images
from assay.models.network_input import make_network_input
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from assay.runs.listener import SILENT
from assay.workflows.diagnose.compare_networks import compare_networks, open_networks

IMAGE_COUNT, CALIBRATION_COUNT, SEED = 32, 16, 7
Damage = Callable[[Any, str, np.random.Generator], bool]


def main() -> None:
    """Plant, compare, and print a line for each build."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("float_onnx", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--form", choices=[*FORMS, "all"], default="all")
    parser.add_argument("--count", type=int, default=24, help="builds of each form")
    chosen = parser.parse_args()
    record = read_model_record(chosen.model)
    index = index_requested_images(ImageRequest(path=chosen.images, limit=IMAGE_COUNT), read_classes(record))
    images = load_sample_images(record, index, IMAGE_COUNT, say)
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS if chosen.form == "all" else [chosen.form]:
            run_form(form, chosen, record, images, Path(folder))


def run_form(
    form: str, chosen: argparse.Namespace, record: ModelRecord, images: Images, folder: Path
) -> None:
    """Damage the model in this form, in so many layers, each by the next of its kinds of damage."""
    named, seconds = 0, []
    source = read_float_onnx(chosen.float_onnx)
    for layer, name, model in list_builds(form, source, chosen.count, record, images, folder):
        path = folder / "damaged.onnx"
        onnx.save(model, str(path))
        start, spent = time.perf_counter(), time.process_time()
        networks = open_networks(path, chosen.float_onnx, record.output.name)
        found = compare_networks(networks, make_network_input(images, record), None, SILENT)
        seconds.append(time.process_time() - spent)
        wall = time.perf_counter() - start
        first = found.layers[0] if found.layers else "nothing"
        is_named = first in list_neighbours(source, layer)
        named += is_named
        worst = found.errors[0]
        say(
            f"{form} {name:12} {layer:36} -> {'' if is_named else 'WRONG '}{first} "
            f"[{worst.cause}, {worst.sqnr_db and round(worst.sqnr_db, 1)} dB; {len(found.layers)} suspects, "
            f"{found.repairs[0].same_count} of {len(images)} same] "
            f"{seconds[-1]:.1f} s of processors, {wall:.1f} s"
        )
    print(f"{form}: {named} of {len(seconds)} named, {max(seconds):.1f} s of processors at most")


def list_builds(
    form: str, source: Any, count: int, record: ModelRecord, images: Images, folder: Path
) -> Iterator[tuple[str, str, Any]]:
    """The planted layer, the name of the damage, and the damaged model."""
    layers = [node.name for node in source.graph.node if node.op_type in LAYER_TYPES]
    rng = np.random.default_rng(SEED)
    healthy = quantise(source, record, images, folder) if form == "int8" else source
    kinds = {**FLOAT_DAMAGES, **INT8_DAMAGES} if form == "int8" else {**FLOAT_DAMAGES, **WEIGHT_DAMAGES}
    names, done, place = list(kinds), 0, 0
    order = rng.permutation(len(layers))
    while done < count:
        layer, name = layers[order[place % len(layers)]], names[done % len(names)]
        place += 1
        model = onnx.ModelProto()
        in_float = form == "int8" and name in BEFORE_INT8
        model.CopyFrom(source if in_float else healthy)
        if not kinds[name](model, layer, rng):
            continue
        done += 1
        yield layer, name, quantise(model, record, images, folder) if in_float else FORMS[form](model)


def list_neighbours(model: Any, layer: str) -> set[str]:
    """The layer, and what computes in one with it: the activation or addition that reads it, or is read."""
    graph = Graph(model)
    (node,) = [one for one in model.graph.node if one.name == layer]
    readers = [one for one in graph.readers.get(node.output[0], []) if one.op_type not in LAYER_TYPES]
    return {layer, *(one.name for one in readers)}


def quantise(model: Any, record: ModelRecord, images: Images, folder: Path) -> Any:
    """The model in int8."""
    batches = [image[None] for image in images[:CALIBRATION_COUNT]]
    quantize_onnx(model, folder / "int8.onnx", batches, record=record)
    return onnx.load(str(folder / "int8.onnx"))


# Damages: each changes the model in place, and says whether it could.


def to_four_bits(model: Any, layer: str, _rng: np.random.Generator) -> bool:
    """Weights in 15 steps, over each output's range."""
    return change_weights(model, layer, round_to_four_bits)


def round_to_four_bits(weights: np.ndarray) -> np.ndarray:
    """Each output rounded to 15 values."""
    rows = weights.reshape(len(weights), -1)
    steps = np.abs(rows).max(axis=1, keepdims=True) / 7
    rounded: np.ndarray = (np.round(rows / np.where(steps > 0, steps, 1)) * steps).reshape(weights.shape)
    return rounded


def scale_half(model: Any, layer: str, _rng: np.random.Generator) -> bool:
    """Every second output 1.5 times as large."""

    def change(weights: np.ndarray) -> np.ndarray:
        weights[::2] *= 1.5
        return weights

    return change_weights(model, layer, change)


def change_epsilon(model: Any, layer: str, rng: np.random.Generator) -> bool:
    """Factors as of a batch normalisation with epsilon 1e-5 for 1e-3, of variances from 1e-3 to 1."""

    def change(weights: np.ndarray) -> np.ndarray:
        variances = 10 ** rng.uniform(-3, 0, len(weights))
        factors = np.sqrt((variances + 1e-3) / (variances + 1e-5))
        return weights * factors.reshape(-1, *[1] * (weights.ndim - 1))

    return change_weights(model, layer, change)


def replace_weights(model: Any, layer: str, rng: np.random.Generator) -> bool:
    """Random weights of the same size."""
    return change_weights(model, layer, lambda weights: rng.normal(0, weights.std(), weights.shape))


def zero_weights(model: Any, layer: str, _rng: np.random.Generator) -> bool:
    """No weights."""
    return change_weights(model, layer, lambda weights: 0 * weights)


def permute_weights(model: Any, layer: str, rng: np.random.Generator) -> bool:
    """Outputs in another order."""
    return change_weights(model, layer, lambda weights: weights[rng.permutation(len(weights))])


def shift_bias(model: Any, layer: str, _rng: np.random.Generator) -> bool:
    """The bias is gone."""
    node, stored = find_node(model, layer), find_stored(model)
    if len(node.input) < 3 or node.input[2] not in stored:
        return False
    bias = stored[node.input[2]]
    values = numpy_helper.to_array(bias)
    bias.CopyFrom(numpy_helper.from_array(np.zeros_like(values), bias.name))
    return bool(np.abs(values).max() > 0.1)


def clip_activation(model: Any, layer: str, _rng: np.random.Generator) -> bool:
    """The activation behind the layer ends at a half of 6."""
    activation = find_activation(model, layer)
    if activation is None or activation.op_type != "Clip":
        return False
    model.graph.initializer.append(numpy_helper.from_array(np.array(3, np.float32), "planted.maximum"))
    activation.input[2] = "planted.maximum"
    return True


def replace_activation(model: Any, layer: str, _rng: np.random.Generator) -> bool:
    """The activation behind the layer is another function."""
    activation = find_activation(model, layer)
    if activation is None:
        return False
    activation.op_type = "HardSwish"
    del activation.input[1:]
    return True


def narrow_range(model: Any, layer: str, _rng: np.random.Generator) -> bool:
    """The range of the layer's input is a quarter."""
    return change_input(model, layer, lambda scale: scale / 4, 1, both=True)


def move_zero(model: Any, layer: str, _rng: np.random.Generator) -> bool:
    """The zero point moves by 24 in the dequantiser alone."""
    return change_input(model, layer, lambda zero: zero + 24, 2, both=False)


FLOAT_DAMAGES: dict[str, Damage] = {
    "4 bits": to_four_bits,
    "scale": scale_half,
    "clip": clip_activation,
    "activation": replace_activation,
    "epsilon": change_epsilon,
}
BEFORE_INT8 = set(FLOAT_DAMAGES)
WEIGHT_DAMAGES: dict[str, Damage] = {
    "replaced": replace_weights,
    "zeroed": zero_weights,
    "permuted": permute_weights,
    "no bias": shift_bias,
}
INT8_DAMAGES: dict[str, Damage] = {"range": narrow_range, "zero point": move_zero}


def find_node(model: Any, name: str) -> Any:
    """The node of that name."""
    return next(node for node in model.graph.node if node.name == name)


def find_stored(model: Any) -> dict[str, Any]:
    """The stored tensors by their names."""
    return {one.name: one for one in model.graph.initializer}


def find_activation(model: Any, layer: str) -> Any | None:
    """The activation that alone reads the layer."""
    made = find_node(model, layer).output[0]
    readers = [node for node in model.graph.node if made in node.input]
    return readers[0] if len(readers) == 1 and readers[0].op_type in {"Clip", "Relu", "HardSwish"} else None


def change_weights(model: Any, layer: str, change: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Replace a layer's stored weights; its outputs are told apart by the first axis."""
    tensor = find_stored(model).get(find_node(model, layer).input[1])
    if tensor is None:
        return False
    values = change(numpy_helper.to_array(tensor).copy()).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return True


def change_input(
    model: Any, layer: str, change: Callable[[np.ndarray], np.ndarray], place: int, *, both: bool
) -> bool:
    """Change the scale (1) or zero point (2) of what quantises the layer's input."""
    graph, name = Graph(model), find_node(model, layer).input[0]
    while (node := graph.makers.get(name)) is not None and node.op_type != "DequantizeLinear":
        name = node.input[0]
    if node is None:
        return False
    values = graph.read_constant(node.input[place])
    if values is None:
        return False
    moved = change(values.astype(np.float64))
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        moved = np.where(moved > limits.max, values.astype(np.float64) - 24, moved)
    model.graph.initializer.append(numpy_helper.from_array(moved.astype(values.dtype), "planted.value"))
    for one in [node, graph.makers[node.input[0]]] if both else [node]:
        one.input[place] = "planted.value"
    return True


def keep(model: Any) -> Any:
    """The model as it is."""
    return model


def rename(model: Any) -> Any:
    """The model with other names but for its input and output, and its pooling a mean."""
    kept = {port.name for port in [*model.graph.input, *model.graph.output]}
    for place, node in enumerate(model.graph.node):
        node.name = f"node_{place}"
        if node.op_type == "GlobalAveragePool":
            node.op_type = "ReduceMean"
            node.attribute.extend(
                [helper.make_attribute("axes", [2, 3]), helper.make_attribute("keepdims", 1)]
            )
        for names in (node.input, node.output):
            for number, name in enumerate(names):
                names[number] = name if name in kept or not name else f"val_{name}"
    for tensor in model.graph.initializer:
        tensor.name = f"val_{tensor.name}"
    return model


def halve(model: Any) -> Any:
    """The model in float16, with its input and output in float32."""
    half = onnx.TensorProto.FLOAT16
    for tensor in [
        *model.graph.initializer,
        *(one.t for node in model.graph.node if node.op_type == "Constant" for one in node.attribute),
    ]:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            with np.errstate(over="ignore"):
                values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    image, scores = model.graph.input[0].name, model.graph.output[0].name
    for node in model.graph.node:
        for names in (node.input, node.output):
            for number, name in enumerate(names):
                names[number] = f"{name}.half" if name in {image, scores} else name
    model.graph.node.insert(0, helper.make_node("Cast", [image], [f"{image}.half"], "to_half", to=half))
    model.graph.node.append(
        helper.make_node("Cast", [f"{scores}.half"], [scores], "to_float", to=onnx.TensorProto.FLOAT)
    )
    return model


def say(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)


FORMS: dict[str, Callable[[Any], Any]] = {"int8": keep, "float": keep, "renamed": rename, "float16": halve}


if __name__ == "__main__":
    main()
