"""From a torch network to an ONNX file that says the same."""
