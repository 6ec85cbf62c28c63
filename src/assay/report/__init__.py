"""From measurements to result files and pages."""
