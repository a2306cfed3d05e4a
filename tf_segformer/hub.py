"""Finds a checkpoint's files: in a folder, or on the Hugging Face Hub."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, is_offline_mode, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

from tf_segformer.atomic_folder import lock, readable_folder
from tf_segformer.hub_errors import CheckpointNotFoundError, download_error
from tf_segformer.proxies import check_proxies, through_proxies

HUB_ARGUMENTS = (
    "revision",
    "subfolder",
    "token",
    "cache_dir",
    "local_files_only",
    "force_download",
    "proxies",
)


class Source:
    """A checkpoint's folder, or one commit of its repository on the Hub.

    The first file fetched fixes the commit, so that config and weights are never of two versions, and
    every further file that is in the cache costs no request. Without a connection the cache is searched.

    Args:
        name_or_path: A folder, or a Hub id such as `nvidia/segformer-b0-finetuned-ade-512-512`.
        revision: Branch, tag or commit; default `main`.
        subfolder: The files lie in this folder of it.
        token: Of `huggingface_hub.hf_hub_download`, like the following. Ignored for a folder.
        cache_dir: Instead of the Hub's cache in the home folder.
        local_files_only: Only the cache is searched.
        force_download: Every file is fetched again, once.
        proxies: URL of a proxy for `"http"` and `"https"`.

    Raises:
        CheckpointNotFoundError: the path is a file, or the folder has no such subfolder.
        ValueError: `proxies` has other keys.
    """

    def __init__(
        self,
        name_or_path: str | os.PathLike,
        *,
        revision: str | None = None,
        subfolder: str | None = "",
        token: str | bool | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        proxies: dict[str, str] | None = None,
    ) -> None:
        self.name = str(name_or_path)
        self.subfolder = subfolder or ""
        self.revision = revision
        self.unreachable: Exception | None = None
        self.folder: Path | None = None
        self._offline = local_files_only or is_offline_mode()
        self._force = force_download
        check_proxies(proxies)
        self._proxies = proxies
        self._hub_arguments: dict[str, Any] = {"token": token, "cache_dir": cache_dir}
        path = Path(name_or_path)
        if path.is_file():
            raise CheckpointNotFoundError(
                f"{path} is a file; expected the folder that holds config.json and the weights, or one "
                "file of weights (.safetensors, .h5, .keras, .bin) with config.json beside it."
            )
        if path.is_dir():
            self._given_folder = self._below(path)
            self.folder = readable_folder(self._given_folder)
        elif force_download and self._offline:
            raise CheckpointNotFoundError(
                f"force_download=True asks to fetch {self.name!r} again, but offline mode is on "
                "(HF_HUB_OFFLINE, local_files_only). Turn one of the two off."
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep `save_pretrained` from replacing the folder's files while several are read."""
        if self.folder is None:
            yield
            return
        with lock(self._given_folder, exclusive=False):
            self.folder = readable_folder(self._given_folder)
            yield

    def _below(self, path: Path) -> Path:
        folder = path / self.subfolder
        if folder.is_dir():
            return folder
        names = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
        raise CheckpointNotFoundError(
            f"{path} has no subfolder {self.subfolder!r}; it has {', '.join(names) or 'none'}."
        )

    def __str__(self) -> str:
        """The checkpoint's name as errors show it, with what narrows it."""
        below = f", subfolder {self.subfolder!r}" if self.subfolder and self.folder is None else ""
        if self.folder is None:
            return f"{self.name}{below}" + (
                f", revision {self.revision!r}" if self.revision not in (None, "main") else ""
            )
        return str(self.folder)

    def find(self, filename: str) -> Path | None:
        """The local path of one file, fetched from the Hub into its cache if need be.

        Returns:
            The path, or None where there is no such file. It is None too where the Hub is out of reach and
            the cache does not have the file; `unreachable` is then the reason.

        Raises:
            CheckpointNotFoundError: the repository or revision does not exist or may not be read, or a
                download failed.
        """
        if self.folder is not None:
            path = self.folder / filename
            return path if path.is_file() else None
        if not self._force:
            cached = self._cached(filename)
            if cached is not None:
                return cached if isinstance(cached, Path) else None
        try:
            with through_proxies(self._proxies):
                path = Path(
                    hf_hub_download(
                        self.name,
                        filename,
                        subfolder=self.subfolder or None,
                        revision=self.revision,
                        local_files_only=self._offline,
                        force_download=self._force,
                        **self._hub_arguments,
                    )
                )
        except LocalEntryNotFoundError as error:
            self.unreachable = error
            self._offline = True  # one time-out is enough
            return None
        except EntryNotFoundError:
            return None
        except Exception as error:  # the client, its transport and hf_xet raise many kinds
            raise download_error(error, self.name, filename, self.revision) from error
        self._fix_commit(path, filename)
        return path

    def require(self, filename: str, hint: str = "") -> Path:
        """The local path of a file that must be there.

        Raises:
            CheckpointNotFoundError: it is not.
        """
        path = self.find(filename)
        if path is None:
            raise self.absence(filename, hint)
        return path

    def absence(self, what: str, hint: str = "") -> CheckpointNotFoundError:
        """The error for something that `find` did not find."""
        if self.unreachable is not None:
            return download_error(self.unreachable, self.name, what, self.revision)
        return CheckpointNotFoundError(f"{self} holds no {what}{hint}.")

    def _cached(self, filename: str) -> Path | object | None:
        """The file in the cache, `_CACHED_NO_EXIST` if it is known not to exist, None if neither is known.

        Only a commit's files never change; a branch's are looked up in the cache when offline alone.
        """
        if not self._offline and not self._is_commit:
            return None
        try:
            cached = try_to_load_from_cache(
                self.name,
                f"{self.subfolder}/{filename}" if self.subfolder else filename,
                cache_dir=self._hub_arguments["cache_dir"],
                revision=self.revision,
            )
        except HFValidationError as error:
            raise download_error(error, self.name, filename, self.revision) from error
        if isinstance(cached, str):
            self._fix_commit(Path(cached), filename)
            return Path(cached)
        return _CACHED_NO_EXIST if cached is _CACHED_NO_EXIST else None

    @property
    def _is_commit(self) -> bool:
        return len(self.revision or "") == 40 and set(self.revision or "") <= set("0123456789abcdef")

    def _fix_commit(self, path: Path, filename: str) -> None:
        """Stay with the commit of this file, which lies at `…/snapshots/COMMIT/subfolder/filename`."""
        depth = len(Path(self.subfolder, filename).parts)
        commit = path.parents[depth - 1]
        if commit.parent.name == "snapshots":
            self.revision = commit.name


def find_file(name_or_path: str | os.PathLike, filename: str, **hub_arguments: Any) -> Path | None:
    """The local path of one file of a checkpoint, fetched from the Hub into its cache if need be.

    Args:
        name_or_path: A folder, or a Hub id.
        filename: The file's name.
        **hub_arguments: See `Source`; only `subfolder` matters for a folder.

    Returns:
        The path, or None where the folder or repository exists without that file.

    Raises:
        CheckpointNotFoundError: the folder or repository does not exist, or cannot be reached.
    """
    source = Source(name_or_path, **hub_arguments)
    path = source.find(filename)
    if path is None and source.unreachable is not None:
        raise source.absence(filename)
    return path
