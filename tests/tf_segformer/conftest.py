"""The Hub that the tests of loading and publishing talk to."""

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.tf_segformer.hub_server import HubServer


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub that the client asks instead of huggingface.co, with an empty cache and nobody logged in."""
    server = HubServer()
    for name in (
        "HF_TOKEN",
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between its tries
    huggingface_hub.close_session()
    yield server
    huggingface_hub.close_session()
    server.close()
