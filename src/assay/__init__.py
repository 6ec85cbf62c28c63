"""assay: is the deployed classifier as accurate as it was, and how fast is it?"""

__version__ = "0.1.0"
