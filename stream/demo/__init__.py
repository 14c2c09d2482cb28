"""The demo: a clip made on this machine, served as a camera, watched live and judged."""
