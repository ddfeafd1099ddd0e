"""From a data set to a frame of stored values."""
