"""Rules that turn scenes into alerts, and the ways an alert reaches somebody."""
