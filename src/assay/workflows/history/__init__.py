"""`assay history`: results over time, put to a baseline and shown as trends."""
