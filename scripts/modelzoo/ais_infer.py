"""python3 ais_infer.py --model M --input DIR --output DIR ...: as the original; see `assay infer`."""

import sys

from assay.command_line.app import main
from assay.modelzoo.tool_arguments import translate_arguments

sys.exit(main(["infer", *translate_arguments(sys.argv[1:])]))
