"""Where scenes go: the terminal, and JSON lines."""
