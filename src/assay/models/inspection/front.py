"""What a network does to its input before the first layer: layout, type, normalisation, order of colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from assay.models.inspection.graph import QUANTISING, SKIPPED, GraphNode, ModelGraph
from assay.models.onnx_file import Port

Values = tuple[float, ...]
_AFFINE = frozenset({"Sub", "Div", "Mul", "Add"})
_CONVOLUTIONS = frozenset({"Conv", "QLinearConv", "ConvInteger", "com.microsoft.FusedConv"})
_RESIZING = frozenset({"Resize", "Upsample", "CenterCropPad"})
_CHANNELS_LAST_TO_FIRST = (0, 3, 1, 2)
_IDENTITY = (1.0, 0.0)
# torchvision.models.googlenet and inception_v3 with transform_input: what they multiply by and add
_TRANSFORM_INPUT = ((0.458, 0.448, 0.45), (-0.030, -0.088, -0.188))
_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Front:
    """What happens to the input before the first layer that computes.

    Args:
        layout: "NCHW" or "NHWC"; empty where neither shape nor nodes tell.
        channels: How many; None where that is not told.
        scale: What each channel is multiplied by, in the order that the file takes; one number is for all.
        offset: What is added then, likewise.
        is_reversed: Whether the order of the channels is turned around.
        has_batch_norm: Whether a batch normalisation stands before the first layer.
        resizes: Whether the network itself resizes or crops.
        steps: The nodes that do this, in words.
        stops_at: The first node that is a layer; empty where none was reached.
        is_understood: Whether nothing stands before that layer that this reading does not know.
    """

    layout: str = ""
    channels: int | None = None
    scale: Values = (1.0,)
    offset: Values = (0.0,)
    is_reversed: bool = False
    has_batch_norm: bool = False
    resizes: bool = False
    steps: tuple[str, ...] = ()
    stops_at: str = ""
    is_understood: bool = True

    @property
    def normalises(self) -> bool:
        """Whether it scales or shifts its input."""
        return any(abs(each - 1) > _TOLERANCE for each in self.scale) or any(
            abs(each) > _TOLERANCE for each in self.offset
        )

    @property
    def mean(self) -> Values:
        """What is subtracted from the input: normalising is (input - mean) / std."""
        return tuple(-offset / scale for scale, offset in _pair(self.scale, self.offset))

    @property
    def std(self) -> Values:
        """What the input is divided by then."""
        return tuple(1 / scale for scale, _ in _pair(self.scale, self.offset))

    @property
    def is_transform_input(self) -> bool:
        """Whether this is torchvision's transform_input, which takes images normalised for ImageNet."""
        return all(
            len(found) == len(known) and all(abs(a - b) < 1e-3 for a, b in zip(found, known, strict=True))
            for found, known in zip((self.scale, self.offset), _TRANSFORM_INPUT, strict=True)
        )


@dataclass
class _Walk:
    """Where the reading stands: the tensor it has come to, and which of its axes holds the channels."""

    tensor: str
    axis: int | None
    front: Front = field(default_factory=Front)

    def note(self, text: str) -> None:
        self.front = replace(self.front, steps=(*self.front.steps, text))


def read_front(graph: ModelGraph, port: Port) -> Front:
    """What the network does to that input before its first layer."""
    layout, channels = _read_shape(port.shape)
    axis = {"NCHW": 1, "NHWC": 3}.get(layout)
    walk = _Walk(tensor=port.name, axis=axis, front=Front(layout=layout, channels=channels))
    for _ in range(len(graph.nodes)):
        nodes = [node for node in graph.consumers.get(walk.tensor, []) if node.operator != "Shape"]
        if not nodes or not _take_step(walk, nodes, graph):
            break
    return walk.front


def _read_shape(shape: Sequence[int | None] | None) -> tuple[str, int | None]:
    """Layout and channels as far as the declared shape tells them."""
    if shape is None or len(shape) != 4:
        return "", None
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        return "", None
    return ("NCHW", shape[1]) if first else ("NHWC", shape[3])


def _take_step(walk: _Walk, nodes: list[GraphNode], graph: ModelGraph) -> bool:
    """Take in the nodes that read the tensor the walk stands at; False where that was the last step."""
    if len(nodes) > 1 or nodes[0].operator in {"Split", "Concat"}:
        return _take_branches(walk, nodes, graph)
    node = nodes[0]
    operator = node.operator
    if operator == "Transpose":
        _take_transpose(walk, node)
    elif operator in _AFFINE:
        return _take_affine(walk, node, graph)
    elif operator in SKIPPED or operator in QUANTISING:
        if operator not in {"Identity", "Dropout"}:
            walk.note(operator)
        _take_reshape(walk, node, graph)
    elif operator in {"Gather", "Slice"} and (indices := _read_indices(node, graph)) == [2, 1, 0]:
        walk.front = replace(walk.front, is_reversed=not walk.front.is_reversed)
        walk.note(f"{operator} with channels {indices}")
    elif operator == "BatchNormalization":
        walk.front = replace(walk.front, has_batch_norm=True)
        walk.note(operator)
    elif operator in _RESIZING:
        walk.front = replace(walk.front, resizes=True, is_understood=False)
        walk.note(operator)
    elif operator == "Pad":
        walk.note(operator)
    else:
        return _stop(walk, node, graph)
    walk.tensor = node.outputs[0]
    return True


def _stop(walk: _Walk, node: GraphNode, graph: ModelGraph) -> bool:
    """The first layer: a convolution tells channels and layout where the shape did not."""
    front = replace(walk.front, stops_at=node.operator)
    weights = graph.find_constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.operator in _CONVOLUTIONS:
        place = 3 if node.operator.startswith("QLinear") else 1
        weights = graph.find_constant(node.inputs[place]) if len(node.inputs) > place else None
        count = weights.shape[1] if weights and len(weights.shape) == 4 else None
        if front.channels is None and count in (1, 3):
            front = replace(front, channels=count, layout=front.layout or "NCHW")
    elif weights is None or node.operator not in {"MatMul", "Gemm"}:
        front = replace(front, is_understood=False)
    if node.operator in graph.functions or node.operator.rpartition(".")[2] in graph.functions:
        front = replace(front, resizes=True, is_understood=False)
        front = replace(front, steps=(*front.steps, f"{node.operator}, a function of the file"))
    walk.front = front
    return False


def _take_transpose(walk: _Walk, node: GraphNode) -> None:
    order = node.get("perm")
    if order == _CHANNELS_LAST_TO_FIRST and not walk.front.layout:
        walk.front = replace(walk.front, layout="NHWC")
        walk.axis = 3
    walk.axis = list(order).index(walk.axis) if order and walk.axis in order else None
    walk.note(f"Transpose {', '.join(f'{axis:g}' for axis in order or ())}")


def _take_reshape(walk: _Walk, node: GraphNode, graph: ModelGraph) -> None:
    """After a reshape the channels of a grey picture are the axis of 1; elsewhere their axis is not known."""
    if node.operator not in {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}:
        return
    target = graph.find_constant(node.inputs[1]) if len(node.inputs) > 1 else None
    values = list(target.values) if target else []
    known = len(values) == 4 and walk.front.channels is not None
    walk.axis = 1 if known and values[1] == walk.front.channels else None


def _take_affine(walk: _Walk, node: GraphNode, graph: ModelGraph) -> bool:
    """Take in a Sub, Div, Mul or Add of a constant for all channels, or one for each."""
    other = next((name for name in node.inputs if name != walk.tensor), "")
    constant = graph.find_constant(other)
    if constant is None or not constant.values:
        return _stop(walk, node, graph)
    is_first = node.inputs[0] == walk.tensor
    is_per_channel = constant.size > 1
    place = None if walk.axis is None else 4 - walk.axis  # from the end: shapes are aligned there
    at_channels = (
        place is not None and len(constant.shape) >= place and constant.shape[-place] == constant.size
    )
    values = constant.values
    turned = node.operator in {"Sub", "Div"} and not is_first  # a constant minus, or divided by, the input
    if (
        (is_per_channel and not at_channels)
        or (turned and node.operator == "Div")
        or 0 in _divisors(node, values)
    ):
        walk.front = replace(walk.front, is_understood=False)
        return _stop(walk, node, graph)
    steps = {
        "Sub": [(-1.0 if turned else 1.0, each if turned else -each) for each in values],
        "Add": [(1.0, each) for each in values],
        "Mul": [(each, 0.0) for each in values],
        "Div": [(1 / each if each else 0.0, 0.0) for each in values],
    }[node.operator]
    _compose(walk, steps)
    walk.note(f"{node.operator} {_write_values(values)}")
    walk.tensor = node.outputs[0]
    return True


def _divisors(node: GraphNode, values: Values) -> Values:
    return values if node.operator in {"Div", "Mul"} else ()


def _compose(walk: _Walk, steps: Sequence[tuple[float, float]]) -> None:
    """Put an affine step behind those that were there; in the order of the channels that the file takes."""
    if walk.front.has_batch_norm:  # what came before it is what the input is judged by
        return
    if walk.front.is_reversed and len(steps) > 1:
        steps = list(reversed(steps))
    before = list(_pair(walk.front.scale, walk.front.offset))
    count = max(len(before), len(steps))
    before, after = _widen(before, count), _widen(list(steps), count)
    pairs = [(a * c, b * c + d) for (a, b), (c, d) in zip(before, after, strict=True)]
    walk.front = replace(
        walk.front, scale=tuple(scale for scale, _ in pairs), offset=tuple(offset for _, offset in pairs)
    )


def _take_branches(walk: _Walk, nodes: list[GraphNode], graph: ModelGraph) -> bool:
    """Take in what is done to each channel apart and joined again: transform_input, or a reversal.

    Each branch begins with a Gather or Slice of one channel, or is an output of a Split.
    """
    starts = _list_branch_starts(nodes, graph)
    followed = [_follow_branch(channel, name, graph) for channel, name in starts]
    joins = {join for _, _, join in followed}
    concat = next((node for node in graph.nodes if node.outputs[:1] == tuple(joins)), None) if joins else None
    if len(joins) != 1 or concat is None or len(followed) != 3:
        walk.front = replace(walk.front, is_understood=False)
        return False
    order = _order_of(concat, starts, graph)
    if order not in ([0, 1, 2], [2, 1, 0]):
        walk.front = replace(walk.front, is_understood=False)
        return False
    by_channel = {channel: step for channel, step, _ in followed}
    _compose(walk, [by_channel[channel] for channel in sorted(by_channel)])
    if order == [2, 1, 0]:
        walk.front = replace(walk.front, is_reversed=not walk.front.is_reversed)
    does = "" if all(step == _IDENTITY for step in by_channel.values()) else ", scaled and shifted"
    walk.note(f"channels {order} taken apart{does}, joined by Concat")
    walk.tensor = concat.outputs[0]
    return True


def _list_branch_starts(nodes: list[GraphNode], graph: ModelGraph) -> list[tuple[int, str]]:
    """Which channel each branch takes, and the tensor it begins with."""
    if len(nodes) == 1 and nodes[0].operator == "Split":
        return list(enumerate(nodes[0].outputs))
    starts = []
    for node in nodes:
        indices = _read_indices(node, graph) if node.operator in {"Gather", "Slice"} else []
        if len(indices) != 1:
            return []
        starts.append((indices[0], node.outputs[0]))
    return starts


def _follow_branch(channel: int, tensor: str, graph: ModelGraph) -> tuple[int, tuple[float, float], str]:
    """The affine step of one branch, and the output of the Concat that it ends in; empty without one."""
    scale, offset = _IDENTITY
    for _ in range(16):
        nodes = graph.consumers.get(tensor, [])
        if len(nodes) != 1 or nodes[0].operator not in {*_AFFINE, *SKIPPED, "Concat"}:
            break
        node = nodes[0]
        if node.operator == "Concat":
            return channel, (scale, offset), node.outputs[0]
        if node.operator in _AFFINE:
            constant = graph.find_constant(next((name for name in node.inputs if name != tensor), ""))
            if constant is None or len(constant.values) != 1 or node.inputs[0] != tensor:
                break
            value = constant.values[0]
            if node.operator in {"Mul", "Div"}:
                factor = value if node.operator == "Mul" else 1 / value if value else 0.0
                scale, offset = scale * factor, offset * factor
            else:
                offset += value if node.operator == "Add" else -value
        tensor = node.outputs[0]
    return channel, (scale, offset), ""


def _order_of(concat: GraphNode, starts: list[tuple[int, str]], graph: ModelGraph) -> list[int]:
    """The channels in the order in which the Concat joins them."""
    channel_of = {name: channel for channel, name in starts}
    order = []
    for name in concat.inputs:
        while name not in channel_of and (maker := graph.makers.get(name)) is not None and maker.inputs:
            name = next((each for each in maker.inputs if graph.find_constant(each) is None), "")
        order.append(channel_of.get(name, -1))
    return order


def _read_indices(node: GraphNode, graph: ModelGraph) -> list[int]:
    """Which channels a Gather or a Slice takes, in its order; empty where that is not told."""

    def read(place: int, attribute: str) -> list[int]:
        constant = graph.find_constant(node.inputs[place]) if len(node.inputs) > place else None
        values = node.get(attribute) or (constant.values if constant else ())
        return [int(value) for value in values]

    if node.operator == "Gather":
        return read(1, "")
    starts, ends, steps = read(1, "starts"), read(2, "ends"), read(4, "steps") or [1]
    if len(starts) != 1 or len(ends) != 1:
        return []
    return list(range(3))[slice(starts[0], ends[0] if abs(ends[0]) < 2**31 - 1 else None, steps[0])]


def _pair(scale: Values, offset: Values) -> list[tuple[float, float]]:
    return list(zip(scale, offset, strict=True))


def _widen(pairs: list[tuple[float, float]], count: int) -> list[tuple[float, float]]:
    return pairs * count if len(pairs) == 1 else pairs


def _write_values(values: Values) -> str:
    return ", ".join(f"{value:.6g}" for value in values[:4]) + (", …" if len(values) > 4 else "")
