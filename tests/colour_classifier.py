"""The tiny classifier of the contract of engines, for tests that need a network but not its weight."""

from assay.engine_contract.classifier import ColourClassifier as ColourClassifier
from assay.engine_contract.classifier import draw_weights as draw_weights
from assay.engine_contract.classifier import make_colour_classifier as make_colour_classifier
