"""A known genuine and a known swapped clip through the live engines: does what runs here still tell them apart?"""
