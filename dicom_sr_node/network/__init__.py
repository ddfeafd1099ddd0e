"""What both directions of the network share."""
