"""Why a model is less accurate than it should be: hypotheses about its record, tested on the same images."""
