import pytest

from parity.false_alarms import random_case, run_networks

NETWORKS = 10  # `make false-alarms` runs 200


def test_seeded_networks_raise_no_alarm():
    found = list(run_networks(range(NETWORKS)))
    flagged = {case.seed: [row.name for lane in lanes for row in lane.failures] for case, lanes in found}
    assert [seed for seed, names in flagged.items() if names] == [], flagged
    assert len(flagged) == NETWORKS
    for case, lanes in found:
        assert [lane.dtype for lane in lanes] == ["float32", "float64"], case
        assert all(len(lane.of_level("taps")) > 40 for lane in lanes)


@pytest.mark.parametrize("field", ["hidden_sizes", "sr_ratios", "hidden_act"])
def test_cases_differ(field):
    assert len({str(random_case(seed).fields[field]) for seed in range(20)}) > 1


def test_a_case_is_the_same_again():
    assert random_case(7) == random_case(7)
