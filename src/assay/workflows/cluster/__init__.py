"""One run computed by many processes: on Ray, or by shares that are merged."""
