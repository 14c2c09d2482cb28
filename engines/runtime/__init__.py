"""What runs a graph: one seam, the runtimes behind it, and a scripted one for tests."""
