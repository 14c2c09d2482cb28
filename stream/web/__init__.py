"""The live page and its API: who may see what, over HTTP."""
