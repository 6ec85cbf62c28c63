"""python3 vision_metric_ImageNet.py RESULTS LABELS OUT_DIR NAME.json: the original; see `assay score`."""

import sys

from assay.command_line.original_score import main

sys.exit(main(sys.argv[1:]))
