"""All streams in one picture, a few times a second: a sink of its own, which costs the streams nothing but a reference.

grid       where each tile lies: pure
mosaic     tiles drawn on planes: pictures fitted in, faces, verdict, what is lost
wall       the thread that composes, and the taps through which streams leave their newest frame
"""
