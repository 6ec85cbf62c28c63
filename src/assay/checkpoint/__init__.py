"""From a weights file to a torch network."""
