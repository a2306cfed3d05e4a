"""What is wrong with a file by its format's own rules, whether Pillow minds it or not.

The graph may refuse a file that has such a defect where Pillow, which does not look at it, reads on.
"""

from __future__ import annotations

from tests.fuzz.parts import Layout, file_format, layout
from tests.fuzz.png_defects import png_defect

_FRAMES = [marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)]


def jpeg_defect(data: bytes) -> str | None:
    """Return the first broken rule of a JPEG file (ITU-T T.81, annex B), or None."""
    parts = layout(data).parts
    markers = [data[start + 1] if data[start] == 0xFF and end - start > 1 else -1 for start, end in parts]
    if 0xD9 not in markers:
        return "there is no end marker, or something else stands between its segments"
    end = markers.index(0xD9)
    if -1 in markers[:end]:
        return "something stands between its segments"
    if 0xD8 in markers[1:end]:
        return "a second image starts within it"
    frames = [i for i, marker in enumerate(markers[:end]) if marker in _FRAMES]
    if len(frames) != 1:
        return "it has no frame, or several"
    scans = [i for i, marker in enumerate(markers[:end]) if marker == 0xDA]
    if not scans or scans[0] < frames[0]:
        return "there is no scan behind the frame"
    for start, stop in parts[:end]:
        if data[start + 1] in (0xC4, 0xDB, 0xDD) and _table_defect(data[start + 1], data[start + 4 : stop]):
            return "a table has an impossible length"
    return None


def _table_defect(marker: int, content: bytes) -> bool:
    if marker == 0xDD:
        return len(content) != 2
    at = 0
    while at < len(content):
        if marker == 0xDB:
            at += 129 if content[at] >> 4 else 65
        else:
            at += 17 + sum(content[at + 1 : at + 17])
    return at != len(content)


def has_unfinished_scans(data: bytes) -> bool:
    """Return whether a progressive JPEG leaves coefficients at less than their full precision.

    That is no damage by the standard. libjpeg smooths such images.
    """
    precision: dict[int, list[int]] = {}  # by component: the lowest bit known of each coefficient
    progressive = False
    for start, end in layout(data).parts:
        marker, content = data[start + 1 : start + 2], data[start + 4 : end]
        if marker == b"\xc2" and len(content) > 5:
            progressive = True
            precision = {component: [99] * 64 for component in content[6 : 6 + 3 * content[5] : 3]}
        if marker == b"\xda" and content and len(content) > 3 + 2 * content[0]:
            count = content[0]
            first, last, bits = content[1 + 2 * count : 4 + 2 * count]
            for component in content[1 : 1 + 2 * count : 2]:
                for index in range(first, min(last, 63) + 1):
                    precision.setdefault(component, [99] * 64)[index] = bits & 15
    return progressive and any(any(known) for known in precision.values())


def gif_defect(data: bytes) -> str | None:
    """Return the first broken rule of a GIF file (GIF89a specification), or None."""
    found = layout(data)
    images = [span for span in found.parts if data[span[0]] == ord(",")]
    end = found.parts[-1]
    if data[end[0] : end[0] + 1] != b";":
        return "it breaks off, or something stands between its parts"
    if not images:
        return "there is no image"
    start, stop = images[0]
    return _codes_defect(data, start, stop, found)


def _codes_defect(data: bytes, start: int, stop: int, found: Layout) -> str | None:
    """Follow the LZW codes of an image."""
    lengths = [field for field in found.lengths if start < field.start < stop]
    first = lengths[0].start if lengths else stop - 1
    bits = data[first - 1]
    if not 1 <= bits <= 8:
        return "the code size is impossible"
    stream = b"".join(data[field.start + 1 : field.start + 1 + data[field.start]] for field in lengths)
    width, height = (int.from_bytes(data[start + at : start + at + 2], "little") for at in (5, 7))
    clear, wanted = 1 << bits, width * height
    size, lengths_of, previous, pixels, at = bits + 1, [1] * (clear + 2), 0, 0, 0
    number, available = int.from_bytes(stream, "little"), 8 * len(stream)
    while pixels < wanted:
        if at + size > available:
            return "the codes end before the image"
        code = number >> at & ((1 << size) - 1)
        at += size
        if code == clear:
            size, lengths_of, previous = bits + 1, lengths_of[: clear + 2], 0
            continue
        if code == clear + 1:
            return "the codes end before the image"
        if (
            code > len(lengths_of)
            or (code == len(lengths_of) and not previous)
            or (not previous and code > clear)
        ):
            return "a code is not in the table"
        length = lengths_of[code] if code < len(lengths_of) else previous + 1
        if previous and len(lengths_of) < 4096:
            lengths_of.append(previous + 1)
            size = min(max(size, len(lengths_of).bit_length()), 12)
        previous = length
        pixels += length
    return None if pixels == wanted else "the codes go on behind the image"


# A WebP file is read by the very rules of Pillow's library, and a bitmap has next to none.
DEFECTS = {"JPEG": jpeg_defect, "PNG": png_defect, "GIF": gif_defect}


def defect(data: bytes) -> str | None:
    """Return the broken rule of a file, or None where none is known."""
    find = DEFECTS.get(file_format(data))
    return find(data) if find else None
