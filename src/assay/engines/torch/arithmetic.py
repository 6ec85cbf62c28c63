"""How torch computes: what can be chosen of it, what of that changes answers, and how it is switched on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from assay.engines.engine import CompileOptions
from assay.engines.options import choose_setting

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MODES = {"cpu": ("eager", "compiled"), "cuda": ("graphs", "eager", "compiled")}
LAYOUTS = ("channels_last", "contiguous")
ALGORITHMS = ("deterministic", "fastest")
MOST_SIZES = 64  # of batches that a network is compiled for


def name_kind(device: str) -> str:
    """`cpu` or `cuda`, whichever GPU it is."""
    return device.partition(":")[0]


def choose_mode(options: CompileOptions) -> str:
    """How the network is run on the options' device; the first of its `MODES` where nothing was chosen.

    Raises:
        UsageError: The device has no such mode.
    """
    return choose_setting(options, "mode", MODES[name_kind(options.device)])


def describe_arithmetic(options: CompileOptions) -> dict[str, str]:
    """What changes the last bits of the logits besides device and precision: it identifies a run."""
    chosen = {"mode": choose_mode(options), "layout": choose_setting(options, "layout", LAYOUTS)}
    if name_kind(options.device) == "cuda":
        chosen |= {"algorithms": choose_setting(options, "algorithms", ALGORITHMS), "tf32": "off"}
    return chosen


def choose_layout(options: CompileOptions) -> torch.memory_format:
    """How images and weights lie in memory."""
    is_last = choose_setting(options, "layout", LAYOUTS) == "channels_last"
    return torch.channels_last if is_last else torch.contiguous_format


def place_network(network: nn.Module, options: CompileOptions) -> nn.Module:
    """The network on the options' device, in their precision and layout."""
    placed: nn.Module = network.to(  # type: ignore[call-overload]
        options.device, DTYPES[options.precision], memory_format=choose_layout(options)
    )
    return placed


def compile_network(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """What `torch.compile` makes of a network, anew for each batch size.

    torch would run the network without it after the eighth size, and say so in a log alone: here that is an
    error, and after the 64th.
    """
    from torch._dynamo import config  # half a second that only this needs

    config.recompile_limit, config.fail_on_recompile_limit_hit = MOST_SIZES, True
    return torch.compile(network, dynamic=False)


def choose_algorithms(*, fastest: bool) -> None:
    """How a GPU computes from now on in this process: fp32 without TF32, sums of half precisions in float32.

    TF32 rounds the factors of fp32 to 10 bits: that is not fp32.

    Args:
        fastest: Whether cuDNN measures its algorithms and takes the fastest, which need not be the same one
            in another process; else it takes one of those that always give the same.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = False
    cudnn.benchmark, cudnn.deterministic = fastest, not fastest
