from types import SimpleNamespace

from parity.taps import expected_taps, match_taps

CONFIG = SimpleNamespace(num_encoder_blocks=2, depths=[1, 2], sr_ratios=[2, 1])


def test_expected_taps_are_complete_unique_and_in_order():
    names = expected_taps(CONFIG)
    assert len(names) == len(set(names))
    # per stage 3, per block 13 and 2 for the sequence reduction, head 2 + 5
    assert len(names) == 2 * 3 + 3 * 13 + 2 + 7
    assert names[0] == "segformer.encoder.patch_embeddings.0.proj"
    assert names[-1] == "decode_head.classifier"
    assert names.index("segformer.encoder.block.1.1") > names.index("segformer.encoder.block.1.0")


def test_sequence_reduction_taps_only_where_there_is_one():
    names = expected_taps(CONFIG)
    assert "segformer.encoder.block.0.0.attention.self.sr" in names
    assert "segformer.encoder.block.1.0.attention.self.sr" not in names


def test_matching_is_by_exact_name():
    sets = match_taps(["a", "b", "c"], ["a", "b", "x"], ["a", "c", "A"])
    assert sets.common == ("a",)
    assert sets.missing == (("reference", "c"), ("candidate", "b"))
    assert sets.extra == (("reference", "x"), ("candidate", "A"))
