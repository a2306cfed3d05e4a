"""Uploads a saved model or image processor to the Hugging Face Hub, in one commit."""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError

from tf_segformer.checkpoint_files import weights_format
from tf_segformer.saving import save_model

_ABOUT_SAVING = (
    "saved_model",
    "version",
    "signatures",
    "max_shard_size",
    "safe_serialization",
    "to_pt",
    "file_format",
)
_ABOUT_THE_REPOSITORY = (
    "commit_message",
    "commit_description",
    "private",
    "token",
    "revision",
    "create_pr",
    "use_auth_token",
)


class PublishError(RuntimeError):
    """An upload that the Hub refused or that did not reach it; nothing has changed there."""


# Writes a folder and returns the names of what it wrote there.
_Save = Callable[[Path], list[str]]


def save_and_publish(
    save: _Save,
    save_directory: str | os.PathLike,
    *,
    push_to_hub: bool,
    repo_id: str | None = None,
    **kwargs: Any,
) -> list[str]:
    """Save into a folder and, if asked, upload what was saved; see `save_pretrained` of the models.

    Returns:
        The names of what was written.
    """
    _refuse_unknown("save_pretrained", kwargs, _ABOUT_THE_REPOSITORY)
    folder = Path(save_directory)
    written = save(folder)
    if push_to_hub:
        _upload(folder, written, repo_id or folder.resolve().name, **kwargs)
    return written


def publish(save: _Save, repo_id: str, use_temp_dir: bool | None = None, **kwargs: Any) -> Any:
    """Save into a temporary folder, or the one that is named as the repository, and upload what was saved."""
    _refuse_unknown("push_to_hub", kwargs, _ABOUT_THE_REPOSITORY)
    folder = Path(repo_id.rpartition("/")[2])
    if use_temp_dir is None:
        use_temp_dir = not folder.is_dir()
    if not use_temp_dir:
        return _upload(folder, save(folder), repo_id, **kwargs)
    with tempfile.TemporaryDirectory() as temporary:
        return _upload(Path(temporary), save(Path(temporary)), repo_id, **kwargs)


def publish_model(model: keras.Model, repo_id: str, **kwargs: Any) -> Any:
    """Upload a model; see `TFSegformerPreTrainedModel.push_to_hub`."""
    _refuse_unknown("push_to_hub", kwargs, ("use_temp_dir", *_ABOUT_SAVING, *_ABOUT_THE_REPOSITORY))
    saving = {name: kwargs.pop(name) for name in _ABOUT_SAVING if name in kwargs}
    return publish(partial(save_model, model, **saving), repo_id, **kwargs)


def _upload(
    folder: Path,
    names: list[str],
    repo_id: str,
    *,
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    use_auth_token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> Any:
    """Upload files and folders of `folder`, and remove what an earlier upload left of the same format."""
    api = HfApi(token=token if token is not None else use_auth_token)
    kinds = {kind for name in names if (kind := weights_format(name))}
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not create_pr:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        return api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=[f"{name}/**" if (folder / name).is_dir() else name for name in names],
            delete_patterns=[pattern for kind in kinds for pattern in _patterns(kind)],
            commit_message=commit_message or "Upload model",
            commit_description=commit_description,
            revision=revision,
            create_pr=create_pr,
        )
    except (HfHubHTTPError, HTTPError, HFValidationError, OSError, RuntimeError) as error:
        raise PublishError(_message(error, repo_id)) from error


def _patterns(kind: str) -> tuple[str, ...]:
    """Patterns of a format's file names: whole, shards and index."""
    stem, _, suffix = kind.rpartition(".")
    return kind, f"{stem}-?????-of-?????.{suffix}", f"{kind}.index.json"


def _message(error: Exception, repo_id: str) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403, 404):
        return (
            f"The Hub did not accept the upload to {repo_id!r} ({status}): the token is missing, or may not "
            "write there. Log in with `hf auth login`, or pass token=… of one with write access to that "
            "owner's repositories."
        )
    lines = str(error).strip().splitlines() or [""]
    return (
        f"The upload to {repo_id!r} failed: {type(error).__name__}: {lines[0]} The repository is as it was. "
        "Check its name (OWNER/NAME) and the connection, and call push_to_hub again."
    )


def _refuse_unknown(method: str, kwargs: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(kwargs) - set(known))
    if unknown:
        raise TypeError(f"{method}() got {', '.join(unknown)}; expected {', '.join(known)}.")
