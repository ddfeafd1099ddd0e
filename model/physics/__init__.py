"""The physics suite: what a generator does to phantoms of which the truth is known; see docs/physics.md."""
