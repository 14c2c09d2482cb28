"""Readers of the public data sets, each in the layout that it is published in: files in, labelled items out.

They read tables and list folders; no picture is opened.
"""
