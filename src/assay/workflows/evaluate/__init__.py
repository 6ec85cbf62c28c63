"""Compiled model and images to predictions and accuracy."""
