"""The HTML reports of passing, failing and broken runs: what is in them, and what a browser shows."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from parity import evidence
from parity.charts import error_svg, histogram_of
from parity.compare import LANE_LEVELS, compare_lane
from parity.evidence import block_maximum, gather
from parity.miou_page import miou_page
from parity.miou_pipeline import Shown
from parity.miou_report import Subject
from parity.pictures import (
    FAILURE_COLOUR,
    TIE_COLOUR,
    difference_picture,
    heat_picture,
    label_picture,
    palette_for,
)
from parity.pipeline import Run
from parity.run_page import Scene, class_names_of, run_page
from parity.thresholds import Thresholds
from tests.parity.browser import find_browser, look_at
from tests.parity.generated_dataset import photograph, write_ade20k
from tests.parity.made_up_sides import run as run_dataset
from tests.parity.made_up_sides import side
from tests.parity.synthetic import SIZE, TAPS, floors, result

NAME = 'model "A" & <b>others'


def made_run(spoil=None):
    lanes, seen, manifests = [], [], []
    for dtype in ("float32", "float64"):
        reference, candidate = result(dtype), result(dtype, "tf_segformer")
        if spoil:
            spoil(candidate)
        lane = compare_lane(
            reference, candidate, levels=LANE_LEVELS[dtype], floors=floors(1e-6), exact=result("float64")
        )
        lanes.append(lane)
        seen.append(gather(reference, candidate, lane))
        manifests.append(candidate.manifest)
    return Run(tuple(lanes), tuple(manifests), tuple(seen), floors=floors())


def shift(candidate):
    candidate.tap(TAPS[6])[0, 1, 2, 3] += 0.5
    if "labels/original_size" in candidate.arrays:
        candidate.arrays["labels/original_size"][0, 1, 1] ^= 1


def with_nan(candidate):
    candidate.arrays["logits"][0, 1] = np.nan


def without_tap(candidate):
    del candidate.arrays[f"taps/{TAPS[6]}"]


def scene():
    return Scene(NAME, "photo.jpg", photograph(np.random.default_rng(0), *SIZE))


def made_evaluation(folder, **options):
    _, evaluation = run_dataset(write_ade20k(folder / "ade", count=3), **options)
    record = evaluation.worst_images[0]
    random = np.random.default_rng(1)
    maps = random.integers(-1, 11, (3, 40, 60))
    shown = Shown(record, photograph(random, 40, 60), *maps, maps[1] != maps[2])
    return Subject(NAME, "ade validation", "tf_segformer", notes=("one note",)), evaluation, (shown,)


class Reader(HTMLParser):
    """Checks that tags are closed in order, and collects pictures and text."""

    VOID = ("meta", "img", "br", "line", "rect", "path")

    def __init__(self, page):
        super().__init__()
        self.open, self.pictures, self.text = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader(page)
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "url(" not in page
    text = " ".join(" ".join(reader.text).split())
    assert NAME in text
    return reader, text


def test_the_page_of_an_equal_run():
    page = run_page(scene(), made_run())
    reader, text = read(page)
    assert 'data-verdict="equal"' in page and "What failed" not in text
    captions = [picture["alt"] for picture in reader.pictures]
    assert captions[:4] == ["Photograph", "PyTorch", "tf_segformer", "Difference"]
    assert {"encoder.layer_norm.0", "encoder.layer_norm.1", "decode_head.concatenated", "logits"} <= {
        *captions
    }
    assert page.count("<svg") > 10
    assert "of 48 pixels differ" in text
    assert "Share of the pixels, per class" in text


@pytest.mark.parametrize("spoil", [shift, with_nan, without_tap])
def test_the_page_of_a_different_run(spoil):
    page = run_page(scene(), made_run(spoil))
    _, text = read(page)
    assert 'data-verdict="different"' in page and "What failed" in text
    if spoil is shift:
        assert TAPS[6] in text and "1 of 48 pixels differ, 0 are ties" in text
        # The first failing tap has a heat map, though it ends no stage.
        assert f'alt="{TAPS[6].removeprefix("segformer.")}"' in page
    if spoil is with_nan:
        assert "not finite" in text
    if spoil is without_tap:
        assert "missing tap" in text


def test_the_page_of_a_breakdown_says_why():
    page = run_page(Scene(NAME), None, error="there is no <checkpoint>")
    assert "there is no <checkpoint>" in read(page)[1]
    assert 'data-verdict="error"' in page
    page = miou_page(Subject(NAME, "ade"), None, error="2 problems:\n - a.png\n - b.png")
    assert "- a.png - b.png" in read(page)[1]


def test_the_pages_of_datasets(tmp_path):
    subject, evaluation, shown = made_evaluation(tmp_path)
    page = miou_page(subject, evaluation, shown)
    reader, text = read(page)
    assert 'data-verdict="equal"' in page
    captions = [picture["alt"] for picture in reader.pictures]
    assert captions[1:] == ["Annotation (dark: not scored)", "PyTorch", "tf_segformer", "Difference"]
    assert f"{evaluation.reference.mean_iou:.6f}" in text
    assert "one note" in text and "IoU of each class" in text
    assert page.count('<div class="bars">') == 11 - len(evaluation.reference.absent)
    subject, evaluation, shown = made_evaluation(tmp_path, candidate=side(labels=lambda x: np.roll(x, 1)))
    page = miou_page(subject, evaluation, shown)
    assert 'data-verdict="different"' in page and "What failed: label maps." in read(page)[1]


@pytest.mark.parametrize("kind", ["run", "different run", "different dataset"])
def test_a_browser_shows_the_verdict_and_every_picture(kind, tmp_path):
    """Issue 5, 6: skipped, with the reason, on a machine without a Chromium."""
    browser = find_browser()
    page = tmp_path / "report.html"
    if kind == "different dataset":
        subject, evaluation, shown = made_evaluation(tmp_path, candidate=side(labels=lambda x: np.roll(x, 1)))
        page.write_text(miou_page(subject, evaluation, shown), encoding="utf-8")
    else:
        page.write_text(run_page(scene(), made_run(shift if "different" in kind else None)), encoding="utf-8")
    seen = look_at(page, tmp_path, browser)
    assert seen["verdict"].split()[-1] == ("EQUAL" if kind == "run" else "DIFFERENT")
    assert seen["shown"] and seen["height"] > 900
    assert len(seen["pictures"]) >= 5
    for caption, width, height, shown in seen["pictures"]:
        assert width > 0 and height > 0 and shown, caption
    assert seen["charts"] > 10 or kind == "different dataset"
    assert seen["bars"] > 3
    assert seen["outside"] == []
    assert not seen["overflows"]


def test_a_single_pixel_stays_visible_and_ties_have_their_colour():
    large = np.full((2000, 3000, 3), 128, np.uint8)
    different, ties = np.zeros((2, 2000, 3000), bool)
    different[700, 900] = different[1500, 2500] = ties[1500, 2500] = True
    picture = difference_picture(large, different, ties)
    assert max(picture.shape) <= 640
    height, width, _ = picture.shape
    assert tuple(picture[700 * height // 2000, 900 * width // 3000]) == FAILURE_COLOUR
    assert tuple(picture[1500 * height // 2000, 2500 * width // 3000]) == TIE_COLOUR
    found = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert found >= {FAILURE_COLOUR, TIE_COLOUR} and len(found) == 3


def test_heat_is_red_only_above_the_gate():
    values = np.array([[0.0, 1e-9, 1e-3, 0.1, 1.0, 1.01, 5.0, np.nan, np.inf]])
    picture = heat_picture(values, smallest=1)[0].astype(int)
    reds = (picture[:, 0] > 2 * picture[:, 1]) & (picture[:, 0] > picture[:, 2] + 60)
    pale = picture[:, 0] > 200
    assert (reds | (pale & (picture[:, 1] < 200))).tolist() == [False] * 5 + [True] * 4
    brightness = picture[:5].sum(axis=-1)
    assert (np.diff(brightness) >= 0).all()


def test_a_large_map_keeps_its_largest_errors():
    values = np.zeros((700, 300))
    values[699, 299], values[5, 5] = 3.0, np.nan
    small = block_maximum(values, 256)
    assert small.shape == (234, 100)
    assert small[-1, -1] == 3.0 and np.isnan(small[1, 1]) and np.nansum(small) == 3.0


def test_a_large_tensor_is_sampled_but_not_its_largest_error(monkeypatch):
    monkeypatch.setattr(evidence, "SAMPLED", 10)
    monkeypatch.setattr(evidence, "CHUNK", 20)
    candidate = result(runner="tf_segformer")
    candidate.arrays["logits"][0, 2, 3, 5] += 1.0
    lane = compare_lane(result(), candidate, levels=("logits",))
    (tensor,) = gather(result(), candidate, lane).tensors
    assert tensor.errors.size < 84 and tensor.errors.max() == pytest.approx(1.0)
    assert tensor.in_gates.argmax() == 2 * 4 + 3 and np.count_nonzero(tensor.in_gates) == 1


def test_histograms_share_their_range_and_count_everything():
    random = np.random.default_rng(0)
    histogram = histogram_of(random.normal(size=500), np.append(random.normal(5, 1, 300), np.nan))
    assert (histogram.reference.sum(), histogram.candidate.sum()) == (500, 300)
    assert histogram_of(np.array([np.nan]), np.array([np.inf])) is None
    assert histogram_of(np.ones(3), np.ones(3)).reference.sum() == 3


def test_one_error_beyond_the_gate_is_drawn():
    errors = np.full(10**6, 1e-9)
    assert "failing" not in error_svg(errors, 1e-6, "errors")
    errors[7] = 1.1e-6
    assert "bar failing" in error_svg(errors, 1e-6, "errors")
    errors[7] = np.nan
    assert "bar failing" in error_svg(errors, 1e-6, "errors")


def test_palettes_are_the_usual_ones_or_distinct():
    assert palette_for(19)[:2].tolist() == [[128, 64, 128], [244, 35, 232]]  # Cityscapes: road, sidewalk
    assert len(palette_for(150)) == 150
    assert len({tuple(colour) for colour in palette_for(27).tolist()}) == 27
    assert label_picture(np.array([[0, -1, 99]]), palette_for(3))[0, 1:].tolist() == [[24, 24, 27]] * 2


def test_class_names_come_from_the_checkpoint_s_config(tmp_path):
    assert class_names_of(str(tmp_path)) == ()
    (tmp_path / "config.json").write_text('{"id2label": {"1": "b", "0": "a"}}')
    assert class_names_of(str(tmp_path)) == ("a", "b")


def test_thresholds_of_a_project_are_said():
    subject = Subject("m", "d", thresholds=Thresholds(source="parity.toml"))
    assert subject.thresholds.to_dict()["source"] == "parity.toml"
