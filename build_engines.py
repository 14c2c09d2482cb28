#!/usr/bin/env python3
"""Trained weights to engines for this machine, each proven equal to its source before it is picked up."""

from __future__ import annotations

import sys

from stream.engine_builds import main

if __name__ == "__main__":
    sys.exit(main())
