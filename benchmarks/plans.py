"""Which questions `make bench` (quick) and `make bench-full` ask, and with what options."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.sides import EAGER, OTHERS, OURS, OURS_BFLOAT16, SIDES


class Question(NamedTuple):
    """One question.

    Attributes:
        key: its name on the command line and in the results.
        title: the heading above its table.
        module: of `benchmarks`: `measure(options, models)`, `report(result)`, perhaps `chart(result)`.
        options: what differs from the module's DEFAULTS; threads are the command's.
    """

    key: str
    title: str
    module: str
    options: dict[str, Any]


_OPENVINO, _ONNX = "OpenVINO", "ONNX Runtime"
_MOST = [OURS, OURS_BFLOAT16, EAGER, _ONNX, _OPENVINO, "OpenVINO, given our fold", "OpenVINO, bfloat16"]
_ENGINES = [OURS, OURS_BFLOAT16, EAGER, _OPENVINO]

QUICK = [
    Question("logits-b0", "Logits, 512 × 512: B0", "network", {"variant": "b0", "repeats": 9}),
    Question(
        "logits-b4",
        "Logits, 512 × 512: B4",
        "network",
        {"variant": "b4", "repeats": 7, "sides": [*_MOST, "transformers' TensorFlow class"]},
    ),
    Question(
        "roofline",
        "Multiply-adds, and the machine's rate",
        "roofline",
        {"sides": [OURS, OURS_BFLOAT16], "repeats": 5},
    ),
    Question(
        "request-b0",
        "The whole request, B0: bytes to PNG",
        "whole",
        {"variant": "b0", "sizes": ["640x427"], "repeats": 3, "no_memory": True},
    ),
    Question(
        "serving-b0",
        "Threads, batches and callers: B0",
        "concurrency",
        {"callers": [1, 2, 4], "batches": [1, 4], "seconds": 4.0},
    ),
]

FULL = [
    *(
        Question(
            f"logits-b{number}",
            f"Logits, 512 × 512: B{number}",
            "network",
            {"variant": f"b{number}", "repeats": 15 if number < 2 else 9},
        )
        for number in range(6)
    ),
    *(
        Question(
            f"logits-{variant}-1024",
            f"Logits, 1024 × 1024: {variant.upper()}",
            "network",
            {"variant": variant, "size": 1024, "repeats": 5, "sides": sides, "together": 3},
        )
        for variant, sides in (("b0", list(SIDES)), ("b4", _MOST))
    ),
    Question("roofline", "Multiply-adds, and the machine's rate", "roofline", {}),
    Question(
        "pixels-b0",
        "Growth with pixels: B0",
        "growth",
        {"axis": "size", "values": [512, 640, 768, 1024, 1280, 1536], "sides": _ENGINES, "repeats": 5},
    ),
    Question(
        "pixels-b4",
        "Growth with pixels: B4",
        "growth",
        {
            "variant": "b4",
            "axis": "size",
            "values": [512, 768, 1024, 1280, 1536],
            "sides": [OURS, OURS_BFLOAT16],
            "repeats": 3,
        },
    ),
    *(
        Question(
            f"batch-{variant}",
            f"Growth with the batch: {variant.upper()}",
            "growth",
            {
                "variant": variant,
                "axis": "batch",
                "values": [1, 2, 4, 8],
                "sides": _MOST if variant == "b0" else _ENGINES,
                "repeats": 5 if variant == "b0" else 3,
                "together": 3,
            },
        )
        for variant in ("b0", "b4")
    ),
    Question(
        "classes-b0",
        "Growth with classes: logits, B0",
        "growth",
        {"axis": "classes", "values": [2, 19, 150, 600], "sides": [OURS, EAGER, _OPENVINO], "repeats": 7},
    ),
    Question(
        "labels",
        "Label map at the photograph's size, from 128 × 128 logits",
        "labels",
        {"sizes": ["640x427", "2048x1536", "4000x3000"], "classes": [19, 150, 600], "repeats": 3},
    ),
    Question(
        "request-b0",
        "The whole request, B0: bytes to PNG",
        "whole",
        {"variant": "b0", "sizes": ["640x427", "4000x3000"], "repeats": 5},
    ),
    Question("precision", "Precision, on a trained checkpoint", "precision", {}),
    Question(
        "loading-b4",
        "Loading, first answer and size on disk: B4",
        "loading",
        {"repeats": 3, "exports": ["float32"]},
    ),
    # Apart, since it takes a minute a loading.
    Question(
        "loading-b4-bfloat16",
        "Loading, first answer and size on disk: B4 in bfloat16",
        "loading",
        {"repeats": 1, "exports": ["bfloat16"], "peers": False},
    ),
    Question("memory-b4", "Peak memory: B4", "memory", {}),
    Question("serving-b0", "Threads, batches and callers: B0", "concurrency", {}),
    Question(
        "serving-b4",
        "Threads, batches and callers: B4",
        "concurrency",
        {"variant": "b4", "batches": [1, 4], "callers": [1, 2], "seconds": 10.0},
    ),
    *(
        Question(
            f"others-{variant}",
            f"Other architectures beside {variant.upper()}: speed alone",
            "network",
            {"variant": variant, "repeats": 7, "sides": [OURS, OURS_BFLOAT16, EAGER, *OTHERS]},
        )
        for variant in ("b0", "b4")
    ),
]

# Small and once: shows that everything runs here. Its times say nothing.
_SMALL: dict[str, Any] = {"size": 128, "repeats": 1}
TRIAL = [
    Question("logits", "Logits: every side", "network", {**_SMALL, "sides": [*SIDES, *OTHERS]}),
    Question("roofline", "Multiply-adds", "roofline", {**_SMALL, "variants": ["b0"], "sides": [OURS]}),
    Question("pixels", "Growth with pixels", "growth", {"values": [128, 192], "repeats": 1}),
    Question("batch", "Growth with the batch", "growth", {**_SMALL, "axis": "batch", "values": [1, 2]}),
    Question("classes", "Growth with classes", "growth", {**_SMALL, "axis": "classes", "values": [2]}),
    Question("labels", "Label map", "labels", {"sizes": ["64x48", "128x96"], "repeats": 1}),
    Question("request", "The whole request", "whole", {"sizes": ["64x48"], "repeats": 1}),
    Question("precision", "Precision", "precision", {"scenes": 4}),
    Question("loading", "Loading", "loading", {**_SMALL, "variant": "b0"}),
    Question("memory", "Memory", "memory", {"variant": "b0", "size": 128, "photographs": ["640x427"]}),
    Question("serving", "Threads", "concurrency", {"batches": [1, 2], "callers": [1, 2], "seconds": 0.5}),
]

PLANS: dict[str, list[Question]] = {"trial": TRIAL, "quick": QUICK, "full": FULL}
