"""The report of an evaluation: one HTML file that holds its charts, and each chart as an SVG file. It shows numbers
about faces and never a face; it names no host and runs no script."""
