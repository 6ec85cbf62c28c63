"""OpenVINO, the engine for CPUs: ONNX file to compiled model to session."""
