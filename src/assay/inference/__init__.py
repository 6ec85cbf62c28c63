"""From a session and images to predictions on disk."""
