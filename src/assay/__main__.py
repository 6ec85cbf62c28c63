"""Runs the command line: `python -m assay`."""

import sys

from assay.command_line.app import main

sys.exit(main())
