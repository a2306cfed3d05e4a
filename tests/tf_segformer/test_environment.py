"""A process that the port cannot run in is refused, by name and with the fix, before anything else."""

import runpy
from types import SimpleNamespace

import keras
import pytest

from tf_segformer import environment, numerics


@pytest.fixture
def running_on(monkeypatch):
    """Replace the version that Python reports to the check."""
    return lambda version: monkeypatch.setattr(environment, "sys", SimpleNamespace(version_info=version))


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 14), (3, 14, 0), (4, 12, 0)])
def test_an_older_and_a_newer_python_are_refused(running_on, version):
    running_on(version)
    with pytest.raises(ImportError) as error:
        environment.check()
    message = str(error.value)
    assert "runs on Python 3.11 to 3.13" in message
    assert f"this is Python {version[0]}.{version[1]}." in message
    assert "-m venv" in message


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 4), (3, 13, 9)])
def test_every_supported_python_is_accepted(running_on, version):
    running_on(version)
    environment.check()


@pytest.mark.parametrize("backend", ["jax", "torch", "openvino"])
def test_a_backend_of_the_environment_is_refused(monkeypatch, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(ImportError, match=f"'{backend}' backend by .* KERAS_BACKEND; .* needs 'tensorflow'"):
        environment.check()


def test_a_backend_of_the_configuration_file_is_refused(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    environment.check()
    with pytest.raises(ImportError, match=r"'jax' backend by keras\.json .* Set KERAS_BACKEND=tensorflow"):
        environment.check_backend()
    with pytest.raises(ImportError, match="'jax' backend"):
        runpy.run_path(numerics.__file__)  # where a module of layers is imported without the package's names


@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_the_legacy_keras_is_refused(monkeypatch, value):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", value)
    with pytest.raises(ImportError, match="unset TF_USE_LEGACY_KERAS"):
        environment.check()


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_a_legacy_keras_that_is_switched_off_is_none(monkeypatch, value):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", value)
    environment.check()
