"""Strict loaders: a file either fits its network exactly, or one line says why not and nothing is loaded."""
