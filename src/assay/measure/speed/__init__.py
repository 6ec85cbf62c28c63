"""From a session to images per second and latency, and whether the figure can be relied on."""
