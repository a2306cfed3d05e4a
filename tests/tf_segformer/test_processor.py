"""Whether oneDNN computes, by the processor's flags and the environment."""

import pytest
from tensorflow.python.util import _pywrap_util_port  # the one place that tells

from tf_segformer import processor

ZEN_3 = "fma avx2 vaes vpclmulqdq"
SKYLAKE = "fma avx2 avx512f avx512bw avx512vl"
SAPPHIRE_RAPIDS = f"{SKYLAKE} avx512_vnni avx512_bf16 amx_tile"


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "CPUINFO", path)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    return path


def test_it_is_what_tensorflow_itself_does_here():
    assert processor.runs_onednn() in (None, _pywrap_util_port.IsMklEnabled())


@pytest.mark.parametrize(
    ("flags", "asked", "runs", "obstacle"),
    [
        (ZEN_3, None, False, "no AVX-512"),
        (ZEN_3, "1", True, "no AVX-512"),
        (SKYLAKE, None, False, "set TF_ENABLE_ONEDNN_OPTS=1"),
        (SKYLAKE, "true", True, None),
        (SAPPHIRE_RAPIDS, None, True, None),
        (SAPPHIRE_RAPIDS, "0", False, "set TF_ENABLE_ONEDNN_OPTS=1"),
    ],
)
def test_flags_and_environment_decide(cpuinfo, monkeypatch, flags, asked, runs, obstacle):
    cpuinfo.write_text(f"model name\t: A CPU\nflags\t\t: {flags}\nbugs\t\t: avx512_vnni\n")
    if asked is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", asked)
    assert processor.runs_onednn() is runs
    found = processor.bfloat16_obstacle()
    assert found is None if obstacle is None else obstacle in found


@pytest.mark.parametrize("text", [None, "Features\t: fp asimd sve\n"])
def test_elsewhere_nothing_is_known(cpuinfo, text):
    if text is not None:
        cpuinfo.write_text(text)
    assert processor.runs_onednn() is None
    assert processor.bfloat16_obstacle() is None
