"""Photographs with masks on disk: which belong together, and whether all is well.

`pairs.py` finds them, `reading.py` reads them, `checks.py` looks through all of them beforehand.
`parity` reads datasets by code of its own: it judges this package and must import without it.
"""
