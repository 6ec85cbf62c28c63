"""The run folder: its files, its locks, and how a finished run is read."""
