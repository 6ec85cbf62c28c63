"""python3 vision_metric_ImageNet.py RESULTS LABELS OUT_DIR NAME.json: the original; see `assay score`."""

import sys

from assay.command_line.app import main

sys.exit(main(["score", *sys.argv[1:]]))
