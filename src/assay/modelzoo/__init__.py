"""The original workflow's commands and file formats."""
