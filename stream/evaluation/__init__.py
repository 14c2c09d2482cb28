"""``unmask evaluate``: how well a model tells fakes from reals, on stills or on clips through the live path."""
