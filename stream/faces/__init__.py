"""Finding faces, keeping their identity, and telling whether one is good enough to judge."""
