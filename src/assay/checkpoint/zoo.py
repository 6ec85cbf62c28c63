"""Builds the networks of timm, torchvision and transformers; nothing is downloaded, no remote code is run."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.errors import (
    BadModelError,
    MissingRuntimeError,
    missing_package,
    quote,
    quote_reason,
)
from assay.models.record import ModelRecord

# Read by huggingface_hub, which all three may import.
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DISABLE_TELEMETRY": "1"}
# What the libraries raise on arguments and pictures that a network cannot take.
BUILD_ERRORS = (RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError)
AUXILIARY = ("aux1.", "AuxLogits.")  # of torchvision's GoogLeNet and Inception, for training
# These change the picture inside the network where their published weights are loaded by name.
TRANSFORMING = ("googlenet", "inception_v3")
# Would load a file, run what it says, or contradict the record.
FORBIDDEN_OPTIONS = frozenset(
    {
        "_attn_implementation",
        "attn_implementation",
        "auto_map",
        "cache_dir",
        "checkpoint_path",
        "features_only",
        "in_chans",
        "num_classes",
        "num_labels",
        "pretrained",
        "pretrained_backbone",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "quantization_config",
        "use_pretrained_backbone",
        "weights",
        "weights_backbone",
    }
)


def is_zoo_network(architecture: str) -> bool:
    """Whether one of the libraries builds it: "timm/NAME", "torchvision/NAME" or "transformers/NAME"."""
    return architecture.partition("/")[0] in _BUILDERS and "/" in architecture


def build_zoo_network(record: ModelRecord, weight_names: Collection[str]) -> nn.Module:
    """The network that the record's architecture names, its parameters on the meta device where that goes.

    Args:
        record: Its architecture, the options for it, the class count and the size of the pictures.
        weight_names: Of the file's tensors: whether auxiliary classifiers are among them.

    Raises:
        BadModelError: The library has no such network, or does not build it with these options.
        MissingRuntimeError: The library is not installed, or cannot be imported.
    """
    library, _, name = record.architecture.partition("/")
    if forbidden := sorted(FORBIDDEN_OPTIONS & set(record.architecture_options)):
        raise BadModelError(
            f"model record {record.name}: architecture_options.{forbidden[0]} is not allowed",
            hint="assay gives class count and channels of the record, and loads the weights itself",
        )
    build = partial(_BUILDERS[library], import_library(library), name, record, weight_names)
    try:
        return _build_empty(build) or build()
    except ImportError as error:  # transformers imports its networks where they are asked for
        raise _refuse_import(library, error) from error
    except BUILD_ERRORS as error:
        raise BadModelError(
            f"model record {record.name}: {library} does not build {quote(name)} as it says: "
            f"{quote_reason(error)}",
            hint="correct architecture_options, or the input's size and channels",
        ) from error


def import_library(name: str) -> Any:
    """A library of networks, kept from the network.

    Raises:
        MissingRuntimeError: It is not installed, or does not fit the torch that is.
    """
    os.environ.update(OFFLINE)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise missing_package(error.name or name, "zoo") from error
    except (ImportError, RuntimeError) as error:
        raise _refuse_import(name, error) from error


def _refuse_import(name: str, error: Exception) -> MissingRuntimeError:
    return MissingRuntimeError(
        f"{name} is installed, but cannot be imported: {quote_reason(error)}",
        hint=f"install releases of {name} and torchvision that are for torch {torch.__version__}",
    )


def _build_empty(build: Callable[[], nn.Module]) -> nn.Module | None:
    """The network with parameters on the meta device; None where it needs them for constants it computes."""
    try:
        with parameters_on_meta():
            network = build()
    except BUILD_ERRORS:
        return None  # and building it as ever says what is wrong, if anything
    return None if any(buffer.is_meta for buffer in network.buffers()) else network


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Parameters that modules register are empty: no random weights are drawn only to be overwritten.

    Buffers are computed as ever, since some are constants that no file holds.
    """
    register = nn.Module.register_parameter

    def register_empty(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = register_empty  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _build_timm(timm: Any, name: str, record: ModelRecord, _weight_names: Collection[str]) -> nn.Module:
    """A network of timm; one for a fixed size of pictures is built for the record's."""
    _require_name(name, timm.list_models(), timm.is_model(name), record)
    options = {"num_classes": record.output.class_count, **record.architecture_options}
    if record.input.channels != 3:
        options["in_chans"] = record.input.channels
    network: nn.Module = timm.create_model(name, pretrained=False, **options)
    size = (record.input.height, record.input.width)
    facts = getattr(network, "pretrained_cfg", {})
    if facts.get("fixed_input_size") and facts.get("input_size", ())[1:] != size:
        network = timm.create_model(name, pretrained=False, **{"img_size": size, **options})
    return network


def _build_torchvision(
    torchvision: Any, name: str, record: ModelRecord, weight_names: Collection[str]
) -> nn.Module:
    models = torchvision.models.list_models(module=torchvision.models)
    _require_name(name, models, name in models, record)
    options = dict(record.architecture_options)
    if name in TRANSFORMING:
        if "transform_input" not in options:
            raise BadModelError(
                f"model record {record.name}: architecture_options.transform_input is missing, and no file "
                f"says it",
                hint="true for torchvision's published weights and those fine-tuned from them; false for a "
                "network that was built without them",
            )
        options |= {"init_weights": False, "aux_logits": any(n.startswith(AUXILIARY) for n in weight_names)}
    network: nn.Module = torchvision.models.get_model(
        name, weights=None, num_classes=record.output.class_count, **options
    )
    return network


def _build_transformers(
    transformers: Any, name: str, record: ModelRecord, _weight_names: Collection[str]
) -> nn.Module:
    """A network of transformers by the name of its class or its model_type; the options are its config."""
    auto = transformers.models.auto.modeling_auto
    by_type: Mapping[str, str | tuple[str, ...]] = auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    classes = {kind: (found,) if isinstance(found, str) else found for kind, found in by_type.items()}
    class_names = [each for found in classes.values() for each in found]
    class_name = classes[name][0] if name in classes else name
    _require_name(name, [*classes, *class_names], class_name in class_names, record)
    network_class = getattr(transformers, class_name)
    options = {key: value for key, value in record.architecture_options.items() if key != "model_type"}
    config = network_class.config_class(**options, num_labels=record.output.class_count)
    channels = getattr(config, "num_channels", record.input.channels)
    if channels != record.input.channels:
        raise ValueError(f"num_channels is {channels}, but input.channels is {record.input.channels}")
    network: nn.Module = network_class(config)
    return network


def _require_name(name: str, known: Sequence[str], is_known: bool, record: ModelRecord) -> None:
    if not is_known:
        close = difflib.get_close_matches(name, known, n=3)
        library = record.architecture.partition("/")[0]
        raise BadModelError(
            f"model record {record.name}: {library} has no classifier that is called {quote(name)}",
            hint=f"did you mean {' or '.join(close)}?" if close else f"see the names that {library} has",
        )


_BUILDERS: Mapping[str, Callable[[Any, str, ModelRecord, Collection[str]], nn.Module]] = {
    "timm": _build_timm,
    "torchvision": _build_torchvision,
    "transformers": _build_transformers,
}


class LogitsAlone(nn.Module):
    """A network of transformers, of whose output only the logits are given.

    Args:
        network: It gives an output with `logits`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (N, classes), for images of (N, channels, H, W)."""
        logits: Tensor = self.network(pixel_values=images).logits
        return logits


def fill_by_transformers(
    network: Any, tensors: dict[str, Tensor]
) -> tuple[LogitsAlone, dict[str, list[str]]]:
    """The network with the weights, and what did not fit, by fault.

    The files of transformers keep the names that its older releases had; it alone knows which are which.
    """
    logging = import_library("transformers").utils.logging
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    filled, found = type(network).from_pretrained(
        None,
        config=network.config,
        state_dict=tensors,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,  # they are listed, and refused by their names
        output_loading_info=True,
    )
    misshaped = [
        f"{name} (expected {tuple(wanted)}, found {tuple(shape)})"
        for name, shape, wanted in sorted(found["mismatched_keys"])
    ]
    faults = {
        "missing": sorted(found["missing_keys"]),
        "unexpected": sorted(found["unexpected_keys"]),
        "wrong shape": misshaped,
    }
    return LogitsAlone(filled), faults


def rename_by_timm(network: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names that this release of timm has for them, as its own loader renames them.

    Unchanged where timm has no other names, or would resample a tensor for another size of pictures.
    """
    rename = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if rename is None or tensors.keys() == network.state_dict().keys():
        return tensors
    try:
        renamed: dict[str, Tensor] = rename(dict(tensors), network)
    except BUILD_ERRORS:
        return tensors  # and they are refused by their own names
    sizes, renamed_sizes = (Counter(each.numel() for each in held.values()) for held in (tensors, renamed))
    return tensors if renamed_sizes - sizes else renamed


def try_network(network: nn.Module, record: ModelRecord) -> None:
    """Refuse a network that does not take the record's images, or gives something else than logits.

    Raises:
        BadModelError: It is so.
    """
    tensor = record.input
    size = (tensor.channels, tensor.height, tensor.width)
    try:
        with torch.inference_mode():
            output = network(torch.zeros(2, *size))
    except BUILD_ERRORS as error:
        raise BadModelError(
            f"model record {record.name}: {record.architecture} does not take images of {size}: "
            f"{quote_reason(error)}",
            hint="set input and preprocessing of the model record to what the network takes",
        ) from error
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if shape != (2, record.output.class_count):
        raise BadModelError(
            f"model record {record.name}: {record.architecture} gives {shape} for 2 images, expected logits, "
            f"(2, {record.output.class_count})"
        )
