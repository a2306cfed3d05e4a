import pytest

from parity.compare import LANE_LEVELS, compare_lane
from parity.pipeline import Run
from parity.table import DEFAULT_CASES, Case, markdown, parse_cases
from tests.parity.synthetic import floors, result


def test_default_cases_are_those_of_the_readme():
    cases = parse_cases(DEFAULT_CASES)
    assert {case.variant for case in cases if case.size < 512} == {f"b{i}" for i in range(6)}
    assert {case.variant for case in cases if case.size == 512} == {"b0", "b4"}


@pytest.mark.parametrize("text", ["", "b0", "b6@512", "b0@", "b0@512,", "b0@-1"])
def test_cases_that_cannot_be_read(text):
    with pytest.raises(ValueError, match="cannot read the case"):
        parse_cases(text)


def made(shift):
    lanes = []
    for dtype in ("float32", "float64"):
        candidate = result(dtype, "tf_segformer")
        candidate.arrays["logits"][0, 0, 0, 0] += shift
        levels = [level for level in LANE_LEVELS[dtype] if level != "gradients"]
        lanes.append(compare_lane(result(dtype), candidate, levels=levels, floors=floors()))
    return Run(tuple(lanes), ())


def test_the_table_is_markdown_with_one_line_a_case():
    text = markdown([(Case("b0", 128), made(0.0)), (Case("b4", 512), made(1.0))])
    lines = text.splitlines()
    assert len(lines) == 5
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3].startswith("| B0 | 128×128 |")
    assert lines[3].endswith("| equal |")
    assert lines[4].endswith("| **different** |")
