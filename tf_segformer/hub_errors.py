"""What huggingface_hub's errors mean to whoever loads a checkpoint, and what to do about each."""

import errno

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tf_segformer.weights import CheckpointError


class CheckpointNotFoundError(CheckpointError, OSError):
    """A checkpoint or one of its files that is not there or cannot be fetched.

    It is an OSError too, which is what the legacy classes raised then.
    """


def download_error(
    error: BaseException, repository: str, filename: str, revision: str | None
) -> CheckpointNotFoundError:
    """The error to raise for one of huggingface_hub's, in one paragraph."""
    # force_download wraps what went wrong in a ValueError of its own
    cause = error.__cause__
    if type(error) is ValueError and isinstance(cause, (OSError, HTTPError)):
        error = cause
    return CheckpointNotFoundError(_message(error, repository, filename, revision))


def _message(error: BaseException, repository: str, filename: str, revision: str | None) -> str:
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, GatedRepoError):
        if status == 403:
            return (
                f"The Hub repository {repository!r} is gated, and the account of your token may not read it "
                "yet: accept its terms on its page, or wait until its owners have granted access."
            )
        return (
            f"The Hub repository {repository!r} is gated: accept its terms on its page, then log in with "
            "`hf auth login` or pass token=…."
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            f"The Hub repository {repository!r} has no revision {revision!r}; expected a branch, a tag or a "
            "commit."
        )
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return (
            f"{repository!r} is neither a folder on this machine nor a repository on the Hugging Face Hub "
            "that you may read. Check the spelling; a private repository needs `hf auth login` or token=…."
        )
    if isinstance(error, LocalTokenNotFoundError):
        return (
            f"token=True asks for the token of `hf auth login` to read {repository!r}, but nobody has logged "
            "in on this machine. Log in, or pass the token itself."
        )
    if status == 401:
        return (
            f"The Hub refused the token for {repository!r}: it is invalid or expired. Log in again with "
            "`hf auth login`, or pass another token=…."
        )
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return (
            f"{repository!r} is no folder on this machine; the local cache of Hub repositories lacks its "
            f"{filename}, and {_why_unreachable(error)}. Go online once, or give the path of a folder."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return (
            f"{filename} of {repository!r} could not be written into the Hub's cache: {error}. Free space "
            "there, or choose another folder with cache_dir=… or the variable HF_HUB_CACHE."
        )
    return (
        f"Fetching {filename} of the Hub repository {repository!r} failed: {_first_line(error)} Nothing "
        "incomplete is kept. Check the connection (proxy, firewall, HF_ENDPOINT) and try again."
    )


def _why_unreachable(error: BaseException) -> str:
    cause = error.__cause__
    if cause is None or isinstance(cause, OfflineModeIsEnabled):
        return "offline mode is on (HF_HUB_OFFLINE, local_files_only)"
    return f"the Hub cannot be reached ({_first_line(cause).rstrip('.')})"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text if text.endswith(".") else f"{text}."
