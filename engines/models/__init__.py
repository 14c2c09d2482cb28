"""Networks as plain ``nn.Module``s: they know layers, not files, recipes or runtimes."""
