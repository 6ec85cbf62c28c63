"""Model records: what is known of one set of weights, as data."""
