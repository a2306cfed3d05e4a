import io
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fuzz.bombs import BOMBS, compressed_zeros, png_of_zeros
from tests.fuzz.inputs import mutated, stream
from tests.fuzz.mutations import MUTATIONS, mutate
from tests.fuzz.parts import file_format, layout, repaired
from tests.fuzz.valid_images import FORMATS, MAKERS

KINDS = [(name, kind) for name in FORMATS for kind in MAKERS[name]]
ROOT = Path(__file__).parents[2]


def opened(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(io.BytesIO(data)).convert("RGB")


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_pillow_reads_every_valid_kind(name, kind):
    for seed in range(10):
        data = MAKERS[name][kind](np.random.default_rng([7, seed]))
        opened(data)
        assert file_format(data) == name
        assert repaired(data) == data
        parts = layout(data).parts
        assert [start for start, _ in parts] == [0, *(end for _, end in parts[:-1])]
        assert parts[-1][1] == len(data)
        assert len(parts) >= 2


def test_an_input_depends_on_the_seed_and_its_number_only():
    program = (
        "import hashlib; from tests.fuzz.inputs import mutated;"
        "print(hashlib.sha256(b''.join(mutated(5, n).data for n in range(50))).hexdigest())"
    )
    digests = {
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    assert mutated(5, 3).data != mutated(6, 3).data


def test_mutations_are_drawn_and_change_files():
    changes: Counter[str] = Counter()
    for number in range(600):
        random = np.random.default_rng([1, number])
        data = MAKERS["PNG"]["Pillow RGB"](random)
        change, changed = mutate(random, data, MAKERS["JPEG"]["4:2:0"](random))
        changes.update(change.split("+"))
        assert changed != data or "intact" in change or set(change.split("+")) <= {"header_byte", *WEAK}
    assert {change.__name__ for change in MUTATIONS} <= set(changes)


# Those that may leave a file as it was: the new value may be the old one, or there may be no such field.
WEAK = {
    *("size_field", "swapped_sizes", "length_field", "parts_exchanged", "bytes_changed", "body_changed"),
    *("bits_flipped", "bytes_inserted", "spliced", "rows_recompressed", "wrong_magic", "part_of_another"),
}


def test_both_readable_and_damaged_files_come_out():
    readable = 0
    for number in range(300):
        try:
            opened(mutated(2, number).data)
            readable += 1
        except Exception:
            continue
    assert 60 < readable < 240


def test_every_bomb_is_in_the_stream_and_small():
    inputs = list(stream(0, 1000))
    assert len(inputs) == 1000
    assert len({one.name for one in inputs}) == 1000
    assert {one.name for one in inputs if one.kind == "bomb"} == set(BOMBS)
    assert max(len(one.data) for one in inputs) <= (20 << 20) + 3


def test_zeros_are_compressed_without_writing_them_all():
    import zlib

    for count in (0, 1, 1 << 20, (3 << 20) + 5):
        assert zlib.decompress(compressed_zeros(count)) == bytes(count)
    assert opened(png_of_zeros(30, 2000, 16, 6)).getbbox() is None
