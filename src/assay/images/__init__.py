"""From image files to preprocessed arrays, with their labels."""
