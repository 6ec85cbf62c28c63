"""python3 get_info.py bin|jpg FOLDER OUT.info [WIDTH HEIGHT]: as the original; see `assay info`."""

import sys

from assay.command_line.app import main

sys.exit(main(["info", *sys.argv[1:]]))
