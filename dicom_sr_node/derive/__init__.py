"""From a source and new pixels to a derived object: one file for each kind of result, over shared geometry, identity, label."""
