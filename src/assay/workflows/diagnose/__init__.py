"""Why a model is less accurate than it should be."""
