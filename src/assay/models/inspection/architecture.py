"""Which known architectures a graph's tensors are those of, as far as an exporter has left them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from assay.models.inspection.graph import QUANTISING, SKIPPED, GraphNode, GraphTensor, ModelGraph
from assay.models.tables.signatures import (
    ArchitectureSignature,
    find_architectures,
    find_architectures_by_shape,
)

WEIGHT_TYPES = ("float32", "float16", "float64", "bfloat16", "int8", "uint8")
_POOLS = frozenset({"GlobalAveragePool", "ReduceMean", "GlobalMaxPool"})
_BATCH_NORM_TENSORS = 4  # weight, bias, running mean, running variance
_MATRIX = frozenset({"Gemm", "MatMul"})
_END_NODES = 8  # among which the classifier is
_SAME_PADDED = "tf_"
_CLASS_COUNT = 1000  # of the table's architectures
Found = tuple[tuple[ArchitectureSignature, ...], bool]
_AFFINE = frozenset({"Mul", "Add", "Sub", "Div"})
_COLOURS = 3  # constants of a normalisation within the network have no more numbers
_SQUEEZED_NODES = 8  # between the pooling of a squeeze-and-excitation block and its last convolution


def recognise_checkpoint(shapes: Mapping[str, tuple[int, ...]]) -> Found:
    """The known architectures of a checkpoint's tensors, as `recognise_architectures`.

    A classifier of other classes than ImageNet's is looked for as if it had those.
    """
    for found in (shapes, *(replaced for replaced, _ in _replace_heads(shapes))):
        if named := find_architectures(found):
            return named, True
    return find_architectures_by_shape(shapes), False


def count_classes(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """How many classes a checkpoint has that is a known architecture but for these; None for any other."""
    if find_architectures(shapes):
        return None
    return next((count for replaced, count in _replace_heads(shapes) if find_architectures(replaced)), None)


def _replace_heads(
    shapes: Mapping[str, tuple[int, ...]],
) -> Iterator[tuple[dict[str, tuple[int, ...]], int]]:
    """Yield the shapes with each layer that may be the classifier, the last first, as one of 1000 classes.

    Beside them how many classes it has.
    """
    for name, shape in reversed(list(shapes.items())):
        bias = name.removesuffix("weight") + "bias"
        if name.endswith("weight") and len(shape) == 2 and shapes.get(bias) == shape[:1]:
            yield {**shapes, name: (_CLASS_COUNT, shape[1]), bias: (_CLASS_COUNT,)}, shape[0]


def recognise_architectures(graph: ModelGraph, class_count: int | None) -> Found:
    """The known architectures that have these tensors, and whether the names agree too, not shapes alone.

    Exporters share equal tensors, turn matrices around and fold batch normalisation into the convolution
    before it. Shapes are therefore counted by use, and a convolution's bias for the four tensors of a folded
    batch normalisation, unless it works on a pooled picture. A classifier of other classes than ImageNet's
    is looked for as if it had those. Empty where nothing known agrees.
    """
    own = {
        name: tensor.shape
        for name, tensor in graph.tensors.items()
        if tensor.dtype in WEIGHT_TYPES and tensor.size > 1
    }
    if named := find_architectures(own):
        return _choose_by_padding(named, graph), True
    for is_folded in (True, False):
        shapes = _list_shapes(graph, is_folded=is_folded)
        numbered = {
            str(number): (_CLASS_COUNT, *shape[1:]) if is_last and shape[0] == class_count else shape
            for number, (shape, is_last) in enumerate(shapes)
        }
        if found := find_architectures_by_shape(numbered):
            return _choose_by_padding(found, graph), False
    return (), False


def _choose_by_padding(
    found: tuple[ArchitectureSignature, ...], graph: ModelGraph
) -> tuple[ArchitectureSignature, ...]:
    """Of twins that differ in padding alone, those that pad as the graph does.

    timm's `tf_` networks pad as TensorFlow's "SAME", more at the right and below.
    """
    pads_apart = any(node.operator == "Pad" or _is_uneven(node) for node in graph.nodes)
    fitting = tuple(row for row in found if row.architecture.startswith(_SAME_PADDED) == pads_apart)
    return fitting if any(row.architecture.startswith(_SAME_PADDED) for row in found) and fitting else found


def _is_uneven(node: GraphNode) -> bool:
    """Whether a convolution pads one side more than the other."""
    pads = node.get("pads") or ()
    return node.operator == "Conv" and pads[: len(pads) // 2] != pads[len(pads) // 2 :]


def _list_shapes(graph: ModelGraph, *, is_folded: bool) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Yield each shape of the checkpoint, as before the export, and whether it is near the end."""
    for number, node in enumerate(graph.nodes):
        if node.operator in SKIPPED or node.operator in QUANTISING:
            continue  # a constant that is only handed on counts where it is used
        for place, name in enumerate(node.inputs):
            tensor = graph.find_constant(name)
            smallest = _COLOURS + 1 if node.operator in _AFFINE else 2
            if tensor is None or tensor.dtype not in WEIGHT_TYPES or tensor.size < smallest:
                continue
            copies = 1
            if is_folded and _is_bias(graph, node, place) and not _is_pooled(graph, node):
                copies = _BATCH_NORM_TENSORS
            for _ in range(copies):
                yield _turn(node, place, tensor), number >= len(graph.nodes) - _END_NODES


def _is_bias(graph: ModelGraph, node: GraphNode, place: int) -> bool:
    """Whether a constant is added to what a convolution gives: as its own input, or of a node behind it."""
    if node.operator == "Conv":
        return place == 2
    maker = graph.makers.get(node.inputs[0])
    return node.operator == "Add" and place == 1 and maker is not None and maker.operator == "Conv"


def _turn(node: GraphNode, place: int, tensor: GraphTensor) -> tuple[int, ...]:
    """The tensor's shape with outputs before inputs, as checkpoints hold matrices."""
    if node.operator in _MATRIX and place == 1 and len(tensor.shape) == 2 and node.get("transB") != (1,):
        return tensor.shape[::-1]
    if node.operator in _AFFINE and tensor.size in tensor.shape:
        return (tensor.size,)  # a scale of each channel, spread for the picture
    if node.operator == "Conv" and len(tensor.shape) == 5:  # OpenVINO's groups have an axis of their own
        return (tensor.shape[0] * tensor.shape[1], *tensor.shape[2:])
    return tensor.shape


def _is_pooled(graph: ModelGraph, node: GraphNode) -> bool:
    """Whether a convolution works on a picture that was pooled just before."""
    tensors = [node.inputs[0]]
    for _ in range(_SQUEEZED_NODES):
        makers = [maker for name in tensors if (maker := graph.makers.get(name)) is not None]
        if not makers:
            return False
        if any(maker.operator in _POOLS for maker in makers):
            return True
        tensors = [makers[0].inputs[0]] if makers[0].inputs else []
    return False
