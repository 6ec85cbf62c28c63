"""What a pickle names and how much it would build, read without running any of it."""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

_NUMBERS = frozenset({"BININT", "BININT1", "BININT2", "LONG1"})
_TEXTS = frozenset({"BINUNICODE", "SHORT_BINSTRING"})
_EMPTY = frozenset(
    {"NONE", "NEWFALSE", "NEWTRUE", "BINFLOAT", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"}
)
# What torch's safe loader calls with whatever a pickle says, and what copies its arguments or makes of a
# number so many bytes. Called from a loop in the pickle, a few bytes make billions.
COPYING_GLOBAL = re.compile(
    r"collections\.(Counter|OrderedDict)|torch\.Size|_codecs\.encode|(builtins|__builtin__)\.(bytearray|set)"
)
# Makes tensors of values in the pickle itself, or copies a tensor, whatever its strides repeat.
TENSOR_MAKER = re.compile(r"torch\.(Tensor|\w+Storage)|torch\._utils\._rebuild_device_tensor_from_\w+")


@dataclass(frozen=True, kw_only=True)
class PickleScan:
    """What a pickle names, read without running any of it.

    Args:
        global_names: The dotted names that it would import.
        strings: The other texts in it, keys among them.
        makes_dict: Whether a dict comes out.
    """

    global_names: list[str]
    strings: set[str]
    makes_dict: bool


def scan_pickle(stream: IO[bytes]) -> PickleScan:
    """Scan the next pickle in `stream`."""
    names: list[str] = []
    strings: list[str] = []
    memo: dict[int, str] = {}
    first = ""
    for opcode, value, _ in pickletools.genops(stream):
        if not first and opcode.name not in ("PROTO", "FRAME", "MARK") and not isinstance(value, str):
            first = opcode.name
        if opcode.name in ("GLOBAL", "INST"):
            names.append(str(value).replace(" ", "."))
            first = first or names[0]
        elif opcode.name == "STACK_GLOBAL":  # protocol 4: module and name are the last two strings
            names.append(".".join(strings[-2:]))
            first = names[0] if first == "STACK_GLOBAL" else first
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif isinstance(value, int) and opcode.name in ("BINGET", "LONG_BINGET"):
            strings.append(memo.get(value, ""))
        elif isinstance(value, str):
            strings.append(value)
    return PickleScan(
        # the file's maker chose them: nothing for the terminal
        global_names=[ascii(name)[1:-1] for name in names],
        strings=set(strings),
        makes_dict=first in ("EMPTY_DICT", "DICT", "collections.OrderedDict"),
    )


@dataclass(kw_only=True, slots=True)
class _Value:
    """What stands on the stack: how many items it has, or its number; whether it is or holds what copies."""

    size: int = 0
    copies: bool = False
    makes_tensors: bool = False


def count_copied(stream: IO[bytes]) -> int:
    """How many items and bytes the calls in the next pickle would copy or make, apart from its tensors.

    The pickle is run on sizes alone, up to the first step that torch's safe loader refuses.

    Raises:
        LookupError, ValueError: It is damaged.
    """
    sizes = _Sizes()
    for opcode, argument, _ in pickletools.genops(stream):
        if not sizes.follow(opcode.name, argument):
            break
    return sizes.copied


class _Sizes:
    """The stack of a pickle, with a size for every value."""

    def __init__(self) -> None:
        self.copied = 0
        self._stack: list[_Value] = []
        self._marks: list[int] = []
        self._memo: dict[int, _Value] = {}
        self._steps: dict[str, Callable[[], None]] = {
            "MARK": lambda: self._marks.append(len(self._stack)),
            "TUPLE": lambda: self._make_tuple(len(self._stack) - self._marks.pop()),
            "APPEND": lambda: self._put_in(1),
            "APPENDS": lambda: self._put_in(len(self._stack) - self._marks.pop()),
            "SETITEM": lambda: self._put_in(2),
            "SETITEMS": lambda: self._put_in(len(self._stack) - self._marks.pop()),
            "BUILD": self._build,
            "REDUCE": self._call,
            "NEWOBJ": self._call,
            "BINPERSID": self._load_storage,
            "PROTO": lambda: None,
            "STOP": lambda: None,
        }
        for count in (1, 2, 3):
            self._steps[f"TUPLE{count}"] = lambda count=count: self._make_tuple(count)  # type: ignore[misc]

    def follow(self, opcode: str, argument: Any) -> bool:
        """Carry out one step; False where it is none that torch's safe loader knows."""
        if opcode in self._steps:
            self._steps[opcode]()
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif opcode == "GLOBAL":
            self._name(argument.replace(" ", "."))
        elif opcode in _NUMBERS:
            self._stack.append(_Value(size=abs(argument)))
        elif opcode in _TEXTS:
            self._stack.append(_Value(size=len(argument)))
        elif opcode in _EMPTY:
            self._stack.append(_Value())
        else:
            return False
        return True

    def _name(self, name: str) -> None:
        makes = bool(TENSOR_MAKER.fullmatch(name))
        copies = makes or bool(COPYING_GLOBAL.fullmatch(name))
        self._stack.append(_Value(copies=copies, makes_tensors=makes))

    def _pop(self, count: int) -> list[_Value]:
        if count > len(self._stack):
            raise LookupError("the stack is empty")
        taken = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return taken

    def _load_storage(self) -> None:
        self._pop(1)
        self._stack.append(_Value())

    def _make_tuple(self, count: int) -> None:
        items = self._pop(count)
        self._stack.append(
            _Value(
                size=sum(item.size for item in items),
                copies=any(item.copies for item in items),
                makes_tensors=any(item.makes_tensors for item in items),
            )
        )

    def _put_in(self, count: int) -> None:
        self._pop(count)
        self._stack[-1].size += count

    def _build(self) -> None:
        self.copied += self._pop(1)[0].size

    def _call(self) -> None:
        function, arguments = self._pop(2)
        if function.copies or arguments.copies:
            self.copied += arguments.size << (60 if function.makes_tensors or arguments.makes_tensors else 0)
        self._stack.append(_Value(size=arguments.size))
