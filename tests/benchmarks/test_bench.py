"""`python -m benchmarks`: statistics, tables, pictures and documents, and peers that are missing or fail."""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import answers, documents, growth, labels, loading, measuring, network, precision, roofline
from benchmarks.drawing import Bar, Series, bars_svg, lines_svg, ticks
from benchmarks.plans import PLANS, Question
from benchmarks.sides import EAGER, OTHERS, OURS, OURS_BFLOAT16, SIDES, Side, products
from benchmarks.turns import compare, describe, groups, relative_error
from tf_segformer import variant_config

ROOT = Path(__file__).parents[2]
ASKED = Question("logits-b0", "Logits: B0", "network", {"variant": "b0"})


def row(side, seconds=(), **fields):
    """A side's row, measured in turns with an export that took 1, 2 and 3 seconds."""
    ratios = [a / b for a, b in zip(seconds, (1.0, 2.0, 3.0), strict=False)]
    known = {"precision": SIDES[side].precision, "remark": "", "problem": None, "error": None}
    return {
        **{"side": side, "seconds": list(seconds), "ratios": ratios, "against": OURS},
        **{"versions": {"library": "1.2"}, **known, **fields},
    }


ROWS = [
    row(OURS, (1.0, 2.0, 3.0), error=6e-7),
    row(EAGER, (3.0, 6.0, 9.0), error=0.0),
    row("OpenVINO", (0.5, 1.0, 1.5), error=7e-7, remark="fast"),
    row("ONNX Runtime", problem="not installed: onnxruntime"),
]


def results(rows=ROWS, **options):
    found = answers.new("quick", 2) | {"machine": {"processor": "A CPU", "cores": "2"}}
    result = {"options": {**network.DEFAULTS, **options}, "rows": rows}
    answers.record(found, ASKED, 0.0, 0.1, {"result": result})
    return found


def test_the_table_says_who_is_fastest_and_who_was_not_measured():
    lines = network.report({"options": network.DEFAULTS, "rows": ROWS}).splitlines()
    assert f"| {OURS} | library 1.2 | 2.000 s | 1.00 (1.00–1.00) | 6.0e-07 |" in lines
    assert f"| {EAGER} | library 1.2 | 6.000 s | 3.00 (3.00–3.00) | 0.0e+00 |" in lines
    assert "| **OpenVINO** | library 1.2 | 1.000 s | 0.50 (0.50–0.50) | 7.0e-07 |" in lines
    assert "| ONNX Runtime | | not installed: onnxruntime | | |" in lines
    assert "- OpenVINO: fast." in lines


def test_each_precision_has_its_own_fastest():
    rows = [row(OURS, (2.0,)), row(OURS_BFLOAT16, (1.0,)), row("OpenVINO, bfloat16", (3.0,))]
    assert network.fastest_of(rows) == {"float32": OURS, "bfloat16": OURS_BFLOAT16}


def test_every_group_has_the_exports_and_no_peer_twice():
    names = [OURS, OURS_BFLOAT16, *"abcde"]
    assert list(groups(names, 2)) == [
        [OURS, OURS_BFLOAT16, "a", "b"],
        [OURS, OURS_BFLOAT16, "c", "d"],
        [OURS, OURS_BFLOAT16, "e"],
    ]
    assert list(groups([OURS], 2)) == [[OURS]]


def test_missing_and_failing_peers_are_rows(tmp_path, monkeypatch):
    monkeypatch.setitem(SIDES, "missing", Side("ours:exported_", "no_such_library", ()))
    # In the side's own process, which knows only the real ones, it cannot be found.
    monkeypatch.setitem(SIDES, "failing", Side("none:none", "json", ()))
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports/bfloat16.txt").write_text("not in this version: an export in bfloat16\n")
    rows = compare(["missing", OURS_BFLOAT16, "failing"], tmp_path, (1, 3, 64, 64), 1, 1)
    assert [row["problem"] for row in rows] == [
        "not installed: no_such_library",
        "not in this version: an export in bfloat16",
        "KeyError: 'failing'",
    ]
    assert not any(row["seconds"] for row in rows)
    assert "KeyError: 'failing'" in network.report({"options": network.DEFAULTS, "rows": rows})


def test_an_errors_line_names_no_folder_of_the_machine():
    assert (
        describe(OSError("no /tmp/a b/x.json\n in https://a.b/c"))
        == "OSError: no a b/x.json in https://a.b/c"
    )
    assert len(describe(ValueError("x" * 1000))) < 250


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_cores_in_use_are_those_of_the_whole_machine(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    monkeypatch.setattr(measuring, "STAT", stat)

    def spend(seconds):
        """Half a second of two cores at work, as the kernel writes it: user, nice, system, idle, disk, …"""
        ticks = os.sysconf("SC_CLK_TCK") // 2
        stat.write_text(f"cpu  {ticks} {ticks} 0 9999 777 0 0 0 0 0\ncpu0 1 2 3 4\n")
        sleep(seconds)

    stat.write_text("cpu  0 0 0 0 0 0 0 0 0 0\n")
    sleep = time.sleep
    monkeypatch.setattr(measuring.time, "sleep", spend)
    assert measuring.cores_in_use(0.5) == pytest.approx(2, rel=0.1)


def test_the_error_is_over_the_largest_logit():
    reference = np.array([[4.0, -8.0]])
    assert relative_error(reference + np.array([[0.0, 0.4]]), reference) == pytest.approx(0.05)
    assert relative_error(np.zeros((1, 3)), reference) is None


def test_the_floor_is_the_multiply_adds_at_the_best_rate():
    timed = [
        {"side": "a", "precision": "float32", "seconds": [0.2], "problem": None},
        {"side": "b", "precision": "float32", "seconds": [0.1], "problem": None},
        {"side": "c", "precision": "bfloat16", "seconds": [], "problem": "not installed: torch"},
    ]
    assert roofline.rates(timed, 100) == {"float32": pytest.approx(1e7)}
    found = {
        "rows": [row(OURS, (0.3,)), row(EAGER, (0.9,)), row(OURS_BFLOAT16, (0.1,))],
        "products": timed,
        "counts": [{"all": 4_000_000}, {"all": 2_000_000}],
    }
    report = roofline.report({"product_size": 100, "variants": {"b0": found}})
    assert f"| B0 | {OURS} | 0.0 | 0.200 s | 0.300 s | 1.50 |" in report
    assert f"| B0 | {EAGER} | 0.0 | 0.400 s | 0.900 s | 2.25 |" in report
    assert f"| B0 | {OURS_BFLOAT16} | | | no rate was measured | |" in report


@pytest.mark.parametrize(
    ("obstacle", "networks", "exports"),
    [(None, [OURS, OURS_BFLOAT16], ("float32", "bfloat16")), ("no AVX-512", [OURS], ("float32",))],
)
def test_only_networks_with_a_rate_are_timed_beside_it(tmp_path, monkeypatch, obstacle, networks, exports):
    asked = {}
    monkeypatch.setattr(roofline, "bfloat16_obstacle", lambda: obstacle)
    monkeypatch.setattr(roofline, "prepare", lambda models, variant, exports: asked.update(exports=exports))
    monkeypatch.setattr(roofline, "compare", lambda names, *rest: asked.update(names=names) or [])
    roofline.measure({"variants": ["b0"], "sides": [OURS, OURS_BFLOAT16]}, tmp_path)
    assert [name for name in asked["names"] if name in SIDES] == networks
    assert asked["exports"] == exports


@pytest.mark.parametrize("product", [products.tensorflow_product, products.pytorch_product])
def test_a_product_says_why_it_is_not_timed_in_bfloat16(tmp_path, monkeypatch, product):
    monkeypatch.setattr(products, "bfloat16_obstacle", lambda: "no AVX-512")
    with pytest.raises(RuntimeError, match="no AVX-512"):
        product(tmp_path, (1, 3, 64, 64), 1, precision="bfloat16")


def test_attention_alone_is_the_same_at_any_limit_of_scores():
    def alone(max_scores):
        tf.random.set_seed(0)
        return products.all_attention(variant_config("b0"), (1, 3, 64, 64), max_scores=max_scores)()

    assert alone(None) == pytest.approx(alone(1), rel=1e-5)


def test_growth_sets_attention_apart():
    def at(seconds, alone):
        rows = [row(OURS, (seconds,)), {**row(EAGER, (alone,)), "side": growth.ATTENTION_ALONE}]
        return {"rows": rows}

    result = {
        "options": {**growth.DEFAULTS, "axis": "size"},
        "values": {"500": at(0.3, 0.05), "1000": at(1.8, 0.8)},
        "counts": {"500": {growth.ATTENTION: 1, "x": 3}, "1000": {growth.ATTENTION: 4, "x": 4}},
    }
    report = growth.report(result)
    assert "| 500 × 500 | 1.2000 | 0.0500 | 1.0000 | 25 % |" in report
    assert "| 1000 × 1000 | 1.8000 | 0.8000 | 1.0000 | 50 % |" in report
    assert "in proportion to the pixels" in growth.chart(result)


def test_label_maps_too_large_for_the_memory_are_left_out(monkeypatch):
    asked = []
    monkeypatch.setattr(labels, "available_memory", lambda: 2 * 4 * 100 * 64 * 48 + 1)
    monkeypatch.setattr(labels.label_map, "measure", lambda options: asked.append(options) or [])
    result = labels.measure({"sizes": ["64x48", "64x64"], "classes": [50, 100]}, Path())
    assert [options.sizes for options in asked] == [["64x48", "64x64"], ["64x48"]]
    assert [options.logits[2] for options in asked] == [50, 100]
    row = {"task": "labels", "kind": "regions", "size": "64x48", "different": 0}
    row |= {"seconds": {"ours": 1, "pytorch": 3}, "all_seconds": {"ours": [1], "pytorch": [3]}}
    report = labels.report({**result, "rows": {"100": [row]}})
    assert "| 3.00 (3.00–3.00) |" in report and "too much memory: 64x64." in report


def test_precision_is_judged_by_labels_and_by_the_truth():
    """Four pixels of two classes, one of them unlabelled; the other side has one more wrong."""
    truth = np.array([[[0, 0], [1, 255]]])
    right, other = np.array([[[0, 1], [1, 0]]]), np.array([[[1, 1], [1, 0]]])
    logits = np.zeros((1, 2, 2, 2), np.float32)
    found = precision.compared(logits + 2, other, truth, (logits + 1, right))
    assert found == {"mean_iou": pytest.approx((0 + 1 / 3) / 2), "agreement": 0.75, "error": 1.0}
    rows = [
        {"side": EAGER, "problem": None, "precision": "float32", "mean_iou": 0.5, "agreement": 1, "error": 0},
        {"side": OURS, "problem": None, "precision": "float32", **found},
    ]
    report = precision.report({"options": precision.DEFAULTS, "rows": rows})
    assert f"| {OURS} | float32 | 16.67 | 33.333 | 75.000 % | 1.0e+00 |" in report


def test_a_files_weights_count_and_anothers_do_not(tmp_path):
    for name, size in {"a.xml": 5, "a.bin": 70, "b.onnx": 9, "folder/x": 1, "folder/in/y": 2}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    sizes = [loading.size_on_disk(tmp_path / name) for name in ("a.xml", "b.onnx", "folder")]
    assert sizes == [75, 9, 3]


def test_loading_is_compared_with_the_same_loader():
    def taken(load, first):
        return {"bytes": 5e6, "load": [load], "first": [first], "warm": [0.1]}

    rows = {
        OURS + loading.SERVER: taken(1.0, 1.0),
        OURS + loading.PYTHON: taken(2.0, 2.0),
        "legacy" + loading.PYTHON: taken(6.0, 2.0),
    }
    report = loading.report({"options": loading.DEFAULTS, "rows": rows, "problems": {"ONNX Runtime": "none"}})
    assert "| legacy, Python | 5.0 MB | 6.00 s | 2.00 s | 2.00 (2.00–2.00) | 0.10 s |" in report
    assert "| ONNX Runtime | none | | | | |" in report


@pytest.mark.parametrize("plan", PLANS)
def test_plans_ask_what_the_modules_know(plan):
    assert len({question.key for question in PLANS[plan]}) == len(PLANS[plan])
    for question in PLANS[plan]:
        module = import_module(f"benchmarks.{question.module}")
        assert question.options.keys() <= module.DEFAULTS.keys(), question.key
        assert callable(module.measure) and callable(module.report)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    path, fresh = tmp_path / "out/quick.json", answers.new("quick", 2)
    assert answers.resumed(path, fresh) is fresh
    answers.record(fresh, ASKED, 0.0, 0.1, {"result": {"rows": []}})
    answers.write(path, fresh)
    again = answers.resumed(path, answers.new("quick", 2))
    assert answers.is_answered(again, ASKED)
    assert not answers.is_answered(again, ASKED._replace(options={"variant": "b0", "repeats": 99}))
    with pytest.raises(answers.AnswersError, match="another threads: 2, now 1"):
        answers.resumed(path, answers.new("quick", 1))


def test_results_of_several_runs_count_as_one():
    quick, full = results(), results([row(OURS, (1.0,))])
    full["plan"] = "full"
    full["answers"]["memory"] = next(iter(full["answers"].values()))
    both = answers.combined([quick, full])
    assert set(both["answers"]) == set(full["answers"]) and both["plan"] == "quick"
    page = documents.tables(both)
    assert "`make bench` and, by `python -m benchmarks --plan full --only`, " in page
    assert "| **this project, exported** |" in page and "OpenVINO" not in page  # the later answer
    with pytest.raises(answers.AnswersError, match=r"another threads: 2 and 1\."):
        answers.combined([quick, {**full, "threads": 1}])


def test_a_question_that_failed_is_asked_again_and_shown(tmp_path):
    found = results()
    answers.record(found, ASKED, 0.0, 1.9, {"problem": "its process ended without an answer"})
    assert not answers.is_answered(found, ASKED)
    page = documents.tables(found)
    assert "Not answered: its process ended" in page and "The machine was busy" in page


def test_the_short_table_has_the_ratios_of_peers():
    text = documents.short(results())
    assert f"| {OURS} | 2.000 s |" in text and f"| {EAGER} | 6.000 s, 3.00 × |" in text
    assert documents.short(answers.new("quick", 2)) == "Not measured."


def test_answers_are_shown_in_the_order_of_the_plans():
    found = results()
    (answer,) = found["answers"].values()
    variants = ("b4", "b1", "b0")
    found["answers"] = {
        f"logits-{variant}": {
            **answer,
            "title": f"Logits {variant}",
            "result": {**answer["result"], "options": {**answer["result"]["options"], "variant": variant}},
        }
        for variant in variants
    }
    assert documents.short(found).startswith("| logits, 512 × 512, batch 1 | B0 | B1 | B4 |")
    page = documents.tables(found)
    assert page.index("Logits b0") < page.index("Logits b1") < page.index("Logits b4")


@pytest.mark.parametrize(
    ("asked", "name", "expected"),
    [(None, OURS, "1"), ("0", OURS, "0"), (None, f"{OURS}, without oneDNN", "0")],
)
def test_tensorflow_uses_onednn_unless_told_otherwise(monkeypatch, tmp_path, asked, name, expected):
    for variable in ("TF_ENABLE_ONEDNN_OPTS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "")  # restored afterwards: `build` changes them
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr("benchmarks.sides.quiet", lambda: None)
    if asked is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    else:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", asked)
    monkeypatch.setattr(
        "benchmarks.sides.ours.exported", lambda *_, **__: os.environ["TF_ENABLE_ONEDNN_OPTS"]
    )
    assert SIDES[name].build(tmp_path, (1, 3, 32, 32), 1) == expected


def test_other_sizes_and_architectures_are_not_in_the_short_table():
    assert documents.short(results(size=1024)) == "Not measured."
    other = {**row(EAGER, (1.0,)), "side": next(iter(OTHERS))}
    assert documents.short(results([*ROWS, other])) == "Not measured."


def test_tables_and_pictures_are_written_into_a_page(tmp_path):
    path, saved = tmp_path / "docs/page.md", tmp_path / "quick.json"
    path.parent.mkdir()
    begin, end = (line.format(name="tables") for line in (documents.BEGIN, documents.END))
    path.write_text(f"above\n{begin}\nstale\n{end}\nbelow\n")
    answers.write(saved, results())
    command = [sys.executable, "-m", "benchmarks", "--from", str(saved), "--write", str(path)]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    page = path.read_text(encoding="utf-8")
    assert page.startswith(f"above\n{begin}\n\n`make bench`: A CPU, 2 cores") and page.endswith(
        f"{end}\nbelow\n"
    )
    assert "stale" not in page and page.count("| **OpenVINO** |") == 1
    assert "![Logits: B0](pictures/page/logits-b0.svg)" in page
    ElementTree.parse(path.parent / "pictures/page/logits-b0.svg")


def test_a_page_without_markers_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "page.md").write_text("no markers")
    command = [sys.executable, "-m", "benchmarks", "--write", str(tmp_path / "page.md")]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 2 and "page.md: expected one line" in failed.stderr


@pytest.mark.parametrize(("page", "name"), [("README.md", "short"), ("docs/performance.md", "tables")])
def test_the_documents_have_the_markers(page, name):
    document = (ROOT / page).read_text(encoding="utf-8")
    assert documents.names_in(document) == [name]
    documents.between_markers(document, name, "")


def test_results_of_something_else_are_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"resize": []}))
    with pytest.raises(answers.AnswersError, match="holds no results"):
        answers.read(tmp_path / "a.json")


def test_charts_are_svg_and_show_every_point():
    lines = lines_svg(
        "a & b", "x", "y", [Series("one", [(1, 2), (2, 4)]), Series("<", [(0, 0)], dashed=True)]
    )
    tree = ElementTree.fromstring(lines)
    assert len([node for node in tree.iter() if node.tag.endswith("circle")]) == 2
    bars = ElementTree.fromstring(
        bars_svg("t", "ms", [Bar("one", 2, True, 1, 3), Bar("two", 4, False, 4, 4)])
    )
    widths = [float(node.get("width")) for node in bars.iter() if node.tag.endswith("rect")][1:]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    with pytest.raises(ValueError, match="no point"):
        lines_svg("t", "x", "y", [])


@pytest.mark.parametrize(("highest", "expected"), [(4.2, 1.0), (0.9, 0.1), (1.0, 0.25), (2048.0, 500.0)])
def test_axes_have_round_marks(highest, expected):
    marks = ticks(highest)
    assert marks[1] == expected and 4 <= len(marks) <= 11 and marks[-1] <= highest
