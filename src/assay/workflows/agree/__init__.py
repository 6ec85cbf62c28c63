"""Ways of running a model, compared with one another on the same images."""
