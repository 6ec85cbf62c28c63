"""The steps of the original scripts, with their file formats."""
