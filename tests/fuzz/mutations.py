"""Ways to damage a file. Each takes a seeded generator, a file and another file, and returns a new one."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from tests.fuzz.parts import Field, Span, layout, repaired
from tests.fuzz.raw_files import png_chunk

Random = np.random.Generator
Mutation = Callable[[Random, bytes, bytes], bytes]

MAGICS = (
    b"\xff\xd8\xff\xe0",
    b"\xff\xd8\xff\xdb",
    b"\x89PNG\r\n\x1a\n",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"RIFF\0\1\0\0WEBPVP8 ",
    b"RIFF\0\1\0\0WEBPVP8L",
    b"RIFF\0\1\0\0WEBPVP8X",
)


def _index(random: Random, length: int) -> int:
    return int(random.integers(length)) if length else 0


def _part(random: Random, data: bytes) -> Span:
    parts = layout(data).parts
    return parts[_index(random, len(parts))]


def _awkward(random: Random, field: Field, now: int) -> int:
    """A value at a limit of the field's type, or close to the present one."""
    bits = 8 * field.size
    limits = (0, 1, 2, (1 << bits) - 1, (1 << bits) - 2, 1 << (bits - 1), (1 << (bits - 1)) - 1, 16383, 65535)
    values = (*limits, -now, now + 1, now - 1, now + 2, now // 2, 2 * now, 1 << _index(random, bits))
    return int(values[_index(random, len(values))])


def _set_to_limit(random: Random, data: bytes, fields: list[Field]) -> bytes:
    """Give one of the fields, if there is any, an awkward value."""
    if not fields:
        return data
    field = fields[_index(random, len(fields))]
    return field.write(data, _awkward(random, field, field.read(data)))


def intact(random: Random, data: bytes, other: bytes) -> bytes:
    """Leave the file as it is."""
    return data


def header_byte(random: Random, data: bytes, other: bytes) -> bytes:
    """Change one to three bytes of what says which kind of image it is."""
    start, end = layout(data).header
    changed = bytearray(data)
    for _ in range(random.integers(1, 4)):
        at = start + _index(random, max(min(end, len(data)) - start, 1))
        if at < len(changed):
            old = changed[at]
            changed[at] = int(random.choice([0, 1, 255, old ^ 1, (old + 1) % 256, random.integers(256)]))
    return bytes(changed)


def size_field(random: Random, data: bytes, other: bytes) -> bytes:
    """Set a height, width or offset to a limit."""
    return _set_to_limit(random, data, layout(data).sizes)


def swapped_sizes(random: Random, data: bytes, other: bytes) -> bytes:
    """Exchange height and width."""
    fields = layout(data).sizes
    if len(fields) < 2:
        return data
    at = 2 * _index(random, len(fields) // 2)
    first, second = fields[at : at + 2]
    return first.write(second.write(data, first.read(data)), second.read(data))


def length_field(random: Random, data: bytes, other: bytes) -> bytes:
    """Set the length of a part to a limit."""
    return _set_to_limit(random, data, layout(data).lengths)


def truncated(random: Random, data: bytes, other: bytes) -> bytes:
    """Cut the file: anywhere, at or about the end of a part, in the first bytes, just before the end."""
    _, end = _part(random, data)
    cuts = (
        _index(random, len(data)),
        end + int(random.integers(-2, 3)),
        _index(random, 32),
        len(data) - int(random.integers(1, 16)),
    )
    return data[: min(max(cuts[_index(random, len(cuts))], 0), len(data) - 1)]


def part_deleted(random: Random, data: bytes, other: bytes) -> bytes:
    """Leave a part out."""
    start, end = _part(random, data)
    return data[:start] + data[end:]


def part_repeated(random: Random, data: bytes, other: bytes) -> bytes:
    """Give a part twice, or some more times."""
    start, end = _part(random, data)
    return data[:end] + data[start:end] * int(random.choice([1, 1, 2, 9])) + data[end:]


def parts_exchanged(random: Random, data: bytes, other: bytes) -> bytes:
    """Exchange two parts."""
    (a, b), (c, d) = sorted([_part(random, data), _part(random, data)])
    return data if a == c else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def part_of_another(random: Random, data: bytes, other: bytes) -> bytes:
    """Insert a part of another file."""
    _, at = _part(random, data)
    start, end = _part(random, other)
    return data[:at] + other[start:end] + data[at:]


def spliced(random: Random, data: bytes, other: bytes) -> bytes:
    """Join the front of a file and the back of another, at parts or anywhere."""
    if random.integers(2):
        return data[: _part(random, data)[1]] + other[_part(random, other)[0] :]
    return data[: _index(random, len(data))] + other[_index(random, len(other)) :]


def bits_flipped(random: Random, data: bytes, other: bytes) -> bytes:
    """Flip one to eight bits anywhere."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 9)):
        changed[_index(random, len(changed))] ^= 1 << _index(random, 8)
    return bytes(changed)


def bytes_changed(random: Random, data: bytes, other: bytes) -> bytes:
    """Overwrite a few bytes anywhere, or a run of them."""
    length = int(random.choice([1, 2, 4, 16, 64]))
    at = _index(random, len(data))
    kinds = (random.bytes(length), b"\0" * length, b"\xff" * length)
    return data[:at] + kinds[_index(random, 3)] + data[at + length :]


def body_changed(random: Random, data: bytes, other: bytes) -> bytes:
    """Change bytes within the longest part, the pixels as a rule."""
    start, end = max(layout(data).parts, key=lambda span: span[1] - span[0])
    changed = bytearray(data)
    for _ in range(random.integers(1, 5)):
        changed[start + _index(random, end - start)] = _index(random, 256)
    return bytes(changed)


def bytes_inserted(random: Random, data: bytes, other: bytes) -> bytes:
    """Insert or remove a few bytes anywhere."""
    at, length = _index(random, len(data)), int(random.integers(1, 9))
    if random.integers(2):
        return data[:at] + random.bytes(length) + data[at:]
    return data[:at] + data[at + length :]


def appended(random: Random, data: bytes, other: bytes) -> bytes:
    """Put something behind the end: noise, zeros, another file."""
    tails = (random.bytes(int(random.integers(1, 200))), b"\0" * 50, other, data)
    return data + tails[_index(random, len(tails))]


def rows_recompressed(random: Random, data: bytes, other: bytes) -> bytes:
    """Damage the rows of a PNG below its compression: filter bytes, too few rows, too many, a bad end."""
    chunks = [
        (data[start + 4 : start + 8], data[start + 8 : end - 4]) for start, end in layout(data).parts[1:]
    ]
    try:
        rows = zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
    except zlib.error:
        return data
    kind = random.integers(5)
    if kind == 0:
        rows = rows[: _index(random, len(rows))]
    elif kind == 1:
        rows += random.bytes(_index(random, 100))
    else:
        rows = bytes_changed(random, rows, b"")
    compressed = zlib.compress(rows)
    if kind == 3:
        compressed = compressed[: -int(random.integers(1, 5))]
    first = next((i for i, (name, _) in enumerate(chunks) if name == b"IDAT"), len(chunks))
    kept = [(name, content) for name, content in chunks if name != b"IDAT"]
    kept.insert(first, (b"IDAT", compressed))
    return data[:8] + b"".join(png_chunk(name, content) for name, content in kept)


def noise_behind_magic(random: Random, data: bytes, other: bytes) -> bytes:
    """Noise that starts like an image."""
    return MAGICS[_index(random, len(MAGICS))] + random.bytes(_index(random, 400))


def noise_behind_header(random: Random, data: bytes, other: bytes) -> bytes:
    """A valid head and noise for the rest."""
    end = layout(data).header[1]
    return data[:end] + random.bytes(_index(random, 400))


def noise(random: Random, data: bytes, other: bytes) -> bytes:
    """Noise, from nothing to some hundred bytes."""
    return random.bytes(_index(random, 400))


def wrong_magic(random: Random, data: bytes, other: bytes) -> bytes:
    """The first bytes of another format."""
    magic = MAGICS[_index(random, len(MAGICS))]
    return magic + data[len(magic) :]


# How often each is drawn.
MUTATIONS: dict[Mutation, int] = {
    intact: 6,
    header_byte: 10,
    size_field: 8,
    swapped_sizes: 2,
    length_field: 7,
    truncated: 10,
    part_deleted: 6,
    part_repeated: 6,
    parts_exchanged: 4,
    part_of_another: 4,
    spliced: 5,
    bits_flipped: 8,
    bytes_changed: 6,
    body_changed: 6,
    bytes_inserted: 4,
    appended: 3,
    noise_behind_magic: 3,
    noise_behind_header: 3,
    noise: 1,
    wrong_magic: 1,
}


def mutate(random: Random, data: bytes, other: bytes) -> tuple[str, bytes]:
    """Damage a file in one way, now and then in two, and return what was done and the result."""
    mutations, weights = list(MUTATIONS), np.array(list(MUTATIONS.values()), float)
    names = []
    for _ in range(1 if random.integers(5) else 2):
        chosen = mutations[int(random.choice(len(mutations), p=weights / weights.sum()))]
        if data[:4] == b"\x89PNG" and random.integers(8) == 0:
            chosen = rows_recompressed
        if data:
            data = chosen(random, data, other)
        names.append(chosen.__name__)
    if random.integers(4) and names != ["intact"]:
        data = repaired(data)
    return "+".join(sorted(set(names))), data
