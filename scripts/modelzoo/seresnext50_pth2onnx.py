"""python3 seresnext50_pth2onnx.py WEIGHTS MODEL.onnx: as the original, opset 11; see `assay export`."""

import sys

from assay.command_line.app import main

sys.exit(main(["export", *sys.argv[1:], "--opset", "11"]))
