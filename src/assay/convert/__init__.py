"""From a torch network to an ONNX file that says the same, and to an int8 one."""

import sys

# NNCF sends events of its use to Google Analytics, unless the package that does so is not there.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an import of it fails
