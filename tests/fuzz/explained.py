"""The classes of files on which the graph and Pillow may differ, beside docs/image-formats.md.

A class is recognised by the file and by Pillow's answer, not by what the graph says: a decoder that breaks
in a new way must not hide behind an old excuse.
"""

from __future__ import annotations

import itertools
import re

from tests.fuzz.defects import defect, has_unfinished_scans
from tests.fuzz.parts import file_format, layout
from tests.fuzz.pillow_reference import SUPPORTED, Reference, open_with_pillow

# The graph looks at no more parts (chunks, segments or blocks), JPEG scans, or PNG chunks before the
# pixels, and at no larger PNG chunk there.
MOST_PARTS = 5_000
MOST_SCANS = 100
MOST_CHUNKS = 500
LARGEST_CHUNK = 1 << 22
_ANY_SIZE = 1 << 24  # pixels: of the files whose difference is to be explained
_RUNS = (1, 2)  # the compression of a BMP
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_LONG_TEXT = ("PngImagePlugin.MAX_TEXT_CHUNK", "MAX_TEXT_MEMORY")  # in Pillow's message
_LONG_FILLING = re.compile(rb"(.)\1{%d}" % (MOST_PARTS - 1), re.DOTALL)


def explanation(what: str, reference: Reference, data: bytes) -> str | None:
    """Return the class of a difference, or None.

    Args:
        what: as `pillow_reference.difference` names it.
        reference: Pillow's answer.
        data: the file.
    """
    if what == "only Pillow reads it":
        return _refused(reference, data)
    if what == "only the graph reads it":
        return _tolerated(reference, data)
    return None  # other pixels have no excuse


def _refused(reference: Reference, data: bytes) -> str | None:
    """Why the graph may refuse what Pillow reads."""
    if reference.file_format not in SUPPORTED:
        return f"{reference.file_format} is none of the formats"
    kind = file_format(data)
    if kind == "BMP" and int.from_bytes(data[14:18], "little") >= 40 and data[30] in _RUNS:
        return "run-length coded BMP is not read"
    if _has_too_many_parts(kind, data):
        return "a file of too many parts or scans is refused"
    if kind == "JPEG" and has_unfinished_scans(data):
        return "a progressive JPEG without all its coefficients is refused"
    if defect(data):
        return "a file that breaks a rule of its format is refused, which Pillow does not check"
    return None


def _tolerated(reference: Reference, data: bytes) -> str | None:
    """Why the graph may read what Pillow refuses."""
    kind = file_format(data)
    is_long = any(limit in reference.error for limit in _LONG_TEXT)
    if kind == "PNG" and is_long and _pillow_reads_without(_TEXTS, data):
        return "texts and profiles of a PNG are not decompressed"
    if kind == "GIF" and defect(data):
        return "a GIF is read though its pixels or its end are damaged"
    return None


def _pillow_reads_without(names: tuple[bytes, ...], data: bytes) -> bool:
    """Return whether Pillow reads a PNG once its chunks of these names are left out."""
    parts = layout(data).parts
    kept = [data[start:end] for start, end in parts if data[start + 4 : start + 8] not in names]
    if len(kept) == len(parts):
        return False
    return open_with_pillow(b"".join(kept), _ANY_SIZE).pixels is not None


def _has_too_many_parts(kind: str, data: bytes) -> bool:
    if len(data) < MOST_SCANS:
        return False
    found = layout(data)
    if kind == "PNG":
        heads = [data[start : start + 8] for start, _ in found.parts[1:]]
        names = [head[4:] for head in heads]
        first = names.index(b"IDAT") if b"IDAT" in names else len(names)
        largest = max((int.from_bytes(head[:4], "big") for head in heads[:first]), default=0)
        # Chunks of one name and length are passed many at a time.
        runs = 1 + sum(a != b for a, b in itertools.pairwise(heads))
        return first > MOST_CHUNKS + 1 or largest > LARGEST_CHUNK or runs > MOST_PARTS
    scans = sum(data[start : start + 2] == b"\xff\xda" for start, _ in found.parts)
    if kind == "JPEG" and scans > MOST_SCANS:
        return True
    return len(found.parts) + len(found.lengths) > MOST_PARTS or bool(_LONG_FILLING.search(data))
