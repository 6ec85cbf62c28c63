"""Two compiled models of one network as one: the fast one answers, the exact one where it is unsure."""
