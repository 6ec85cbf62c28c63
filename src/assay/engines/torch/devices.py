"""The devices that torch finds here, and the refusal of those that it does not find or cannot use."""

from __future__ import annotations

import warnings

import torch

from assay.engines.torch.arithmetic import name_kind
from assay.errors import MissingRuntimeError, UsageError, quote, quote_reason, shorten
from assay.processors import describe_processor

FIRST_WITH_BF16 = (8, 0)  # compute capability of NVIDIA's Ampere


def find_devices() -> dict[str, str]:
    """The processor, and every GPU with its name: `cuda` is the first, `cuda:1` the second."""
    found = {"cpu": describe_processor()}
    if not explain_no_cuda():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        found |= {name_gpu(number): name for number, name in enumerate(names)}
    return found


def count_gpus() -> int:
    """How many GPUs torch can use here."""
    return 0 if explain_no_cuda() else torch.cuda.device_count()


def name_gpu(number: int) -> str:
    """What the GPU of that number is called: the first is `cuda`, the second `cuda:1`."""
    return f"cuda:{number}" if number else "cuda"


def split_device(device: str) -> tuple[str, str]:
    """What of `cuda:1` is the kind, and what the number; the first GPU has none: `cuda:0` is `cuda`.

    Raises:
        UsageError: A number that is none, or of anything but a GPU.
    """
    kind, colon, number = device.partition(":")
    is_number = number.isascii() and number.isdigit()
    if colon and not (is_number and kind.casefold() == "cuda"):
        raise UsageError(
            f"engine torch does not run on {quote(device)}", hint="--device can be: cpu, cuda, cuda:1, …"
        )
    return kind, str(int(number)) if is_number and int(number) else ""


def check_device(device: str, precision: str) -> None:
    """Refuse a GPU that is not there, that torch cannot use, or that does not compute in the precision.

    Raises:
        MissingRuntimeError: That.
    """
    if name_kind(device) != "cuda":
        return
    if reason := explain_no_cuda():
        raise MissingRuntimeError(
            f"torch finds no device cuda: torch {torch.__version__} is {reason}",
            hint="install a CUDA build of torch and the device's driver, or choose --device cpu",
        )
    count, number = torch.cuda.device_count(), int(device.partition(":")[2] or 0)
    if number >= count:
        raise MissingRuntimeError(
            f"torch finds no device {device}; it finds {count}: {', '.join(_name_gpus(count))}",
            hint="choose one of those; CUDA_VISIBLE_DEVICES can hide others",
        )
    _try_device(device)
    capability = torch.cuda.get_device_capability(number)
    if precision == "bf16" and capability < FIRST_WITH_BF16:
        raise MissingRuntimeError(
            f"{device} ({torch.cuda.get_device_name(number)}) does not compute in bf16: its compute "
            f"capability is {capability[0]}.{capability[1]}, and 8.0 is the first that does",
            hint="choose --precision fp16",
        )


def explain_no_cuda() -> str:
    """Why torch can use no GPU; empty where it can."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")  # a driver that is too old is said so, and nowhere else
        if torch.cuda.is_available():
            return ""
    if torch.version.cuda is None:
        return "built without CUDA"
    reason = "; ".join(shorten(warning.message) for warning in said) or "no GPU with its driver is found"
    return f"built for CUDA {torch.version.cuda}, but {reason}"


def _try_device(device: str) -> None:
    """Refuse a GPU on which not even an addition runs, as one that this build has no code for."""
    try:
        (torch.ones(1, device=device) + 1).item()
    except RuntimeError as error:
        raise MissingRuntimeError(f"torch cannot use {device}: {quote_reason(error)}") from error


def _name_gpus(count: int) -> list[str]:
    return [name_gpu(number) for number in range(count)]
