"""The engine of Intel's OpenVINO, which, imported from here, reports nobody's use of it to its makers."""

import sys

# Importing OpenVINO sends an event to Google Analytics, unless the package that does so is not there.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an import of it fails
