"""A double of the inference tool; see the README two folders up."""
