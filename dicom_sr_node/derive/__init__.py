"""From a source and new pixels to a derived object.

One file for each kind of result, over shared geometry, identity, label.
"""
