"""ONNX Runtime, with the execution providers of the wheel that is installed."""
