"""The steps composed; each file reads top to bottom, full_run.py first."""
