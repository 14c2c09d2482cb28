"""Where frames come from: addresses, retries, watchdogs."""
