"""A double of npu-smi: the table of the chips of one card, in the columns of version 22."""

from __future__ import annotations

import os
import sys

RULE = "+-------------------+-----------------+------------------------------------------------------+"


def main() -> int:
    chip = os.environ.get("ASSAY_DOUBLE_CHIP", "").removeprefix("Ascend")
    if not chip:
        print("Failed to initialize the driver.")
        return 1
    if "board" in sys.argv:
        print("\tChip Name                      : Ascend910\n\tNPU Name                       : 9392")
        return 0
    print(RULE)
    print("| npu-smi 22.0.0                       Version: 22.0.2                                       |")
    print(RULE)
    for number in range(int(os.environ.get("ASSAY_DOUBLE_DEVICES", "1"))):
        print(
            f"| 24      {chip:<10}| OK              | 15.8         42                0    / 0              |"
        )
        print(f"| {number}       {number}         | 0000:82:00.{number}    | 0            1074 / 21534 |")
        print(RULE)
    print("| NPU     Chip      | Process id      | Process name             | Process memory(MB)        |")
    print("| No running processes found in NPU 24                                                       |")
    print(RULE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
