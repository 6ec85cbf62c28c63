"""From an ONNX file to a compiled model, and from that to a session."""
