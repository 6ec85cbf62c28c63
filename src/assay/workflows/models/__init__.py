"""What makes models: weights to ONNX file, to int8, to compiled model."""
