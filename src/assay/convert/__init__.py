"""From a torch network to an ONNX file that says the same, and to an int8 one."""

import sys

# NNCF imports OpenVINO, which sends an event to Google Analytics unless the package that does so is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an import of it fails
