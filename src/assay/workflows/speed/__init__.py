"""Compiled models to images per second and latency."""
