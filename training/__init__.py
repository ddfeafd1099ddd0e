"""Trains the generator: `python -m training.fit CONFIG`. Imports `model`, never the node."""
