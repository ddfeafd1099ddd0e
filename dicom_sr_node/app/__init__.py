"""The one place where things are built and joined: one file for each role, which runs until `stop` is set."""
