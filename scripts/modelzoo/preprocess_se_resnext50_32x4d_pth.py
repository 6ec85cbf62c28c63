"""python3 preprocess_se_resnext50_32x4d_pth.py IMAGES BIN_FOLDER: as the original; see `assay preprocess`."""

import sys

from assay.command_line.app import main

sys.exit(main(["preprocess", *sys.argv[1:]]))
