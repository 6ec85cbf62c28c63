"""The tool's Python interface."""
