"""The ways to somebody: each is a Sender, and none knows of the others."""
