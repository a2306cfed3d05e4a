"""Finds a checkpoint's files: in a folder, or on the Hugging Face Hub."""

import os
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tf_segformer.weights import CheckpointError

HUB_ARGUMENTS = (
    "revision",
    "subfolder",
    "token",
    "cache_dir",
    "local_files_only",
    "force_download",
)


def find_file(name_or_path: str | os.PathLike, filename: str, **hub_arguments: Any) -> Path | None:
    """The local path of one file of a checkpoint, fetched from the Hub into its cache if need be.

    Args:
        name_or_path: A folder, or a Hub id such as `nvidia/segformer-b0-finetuned-ade-512-512`.
        filename: The file's name.
        **hub_arguments: Of `huggingface_hub.hf_hub_download`; only `subfolder` matters for a folder.

    Returns:
        The path, or None where the folder or repository exists without that file.

    Raises:
        CheckpointError: the folder or repository does not exist, or cannot be reached.
    """
    folder = Path(name_or_path)
    if folder.is_dir():
        path = folder / (hub_arguments.get("subfolder") or "") / filename
        return path if path.is_file() else None
    if folder.is_file():
        raise CheckpointError(
            f"{folder} is a file; expected the folder that holds config.json and the weights."
        )
    return _download(str(name_or_path), filename, **hub_arguments)


def _download(repository: str, filename: str, **hub_arguments: Any) -> Path | None:
    try:
        return Path(hf_hub_download(repository, filename, **hub_arguments))
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{repository!r} is no folder on this machine; as a Hub repository, its {filename} is not in the "
            "local cache, and the Hub cannot be reached or offline mode is on (HF_HUB_OFFLINE, "
            "local_files_only). Go online once, or give the path of a folder."
        ) from error
    except EntryNotFoundError:
        return None
    except GatedRepoError as error:
        raise CheckpointError(
            f"The Hub repository {repository!r} is gated: accept its terms on its page, then log in with "
            "`hf auth login` or pass token=…."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"The Hub repository {repository!r} has no revision {hub_arguments.get('revision')!r}; expected "
            "a branch, a tag or a commit."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise CheckpointError(
            f"{repository!r} is neither a folder on this machine nor a repository on the Hugging Face Hub "
            "that you may read. Check the spelling; a private repository needs `hf auth login` or token=…."
        ) from error
