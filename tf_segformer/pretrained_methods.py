"""The methods by which a model comes from a checkpoint and becomes one."""

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

from transformers import SegformerConfig


class PretrainedMethods:
    """`from_pretrained`, `save_pretrained` and `push_to_hub`, for `TFSegformerPreTrainedModel`."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        config: SegformerConfig | Mapping[str, Any] | str | os.PathLike | None = None,
        cache_dir: str | os.PathLike | None = None,
        ignore_mismatched_sizes: bool = False,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str = "main",
        use_safetensors: bool | None = None,
        from_pt: bool | None = None,
        variant: str | None = None,
        output_loading_info: bool = False,
        dtype: Any = None,
        data_format: str = "channels_first",
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a checkpoint from a folder or from the Hugging Face Hub.

        Looked for in this order, each whole before sharded: `model.safetensors` (PyTorch's or TensorFlow's),
        `tf_model.h5`, `model.keras`, `pytorch_model.bin`. Either every weight is loaded or an error is
        raised. An encoder alone (`nvidia/mit-b*`) loads into a model with a head; the head is then new, with
        one warning that names it. See `docs/loading-and-saving.md`.

        Args:
            pretrained_model_name_or_path: A folder that holds `config.json` and weights, one file of weights
                with `config.json` beside it, or a Hub id.
            config: Used instead of the checkpoint's `config.json`: a config, a dict of one, the path of a
                file, a folder or a Hub id. A config object is not checked for unknown fields.
            cache_dir: Of the Hub's files, instead of huggingface_hub's.
            ignore_mismatched_sizes: Leave weights new, with a warning, that have another shape in the
                checkpoint, e.g. the classifier after `num_labels=`.
            force_download: Fetch every file again, once.
            local_files_only: Only look into the cache.
            token: Of the Hub; True for that of `hf auth login`.
            revision: Branch, tag or commit.
            use_safetensors: True reads safetensors only, False anything else.
            from_pt: True reads PyTorch weights only, False no pickles; None (default) whatever is there.
            variant: Of the weights' file names, e.g. `"fp16"` for `model.fp16.safetensors`.
            output_loading_info: Return the model and a dict of lists: `missing_keys` (new), `unexpected_keys`
                (another task's head, left out) and `mismatched_keys` (key, found shape, expected shape).
            dtype: Keras dtype or policy, e.g. `"float64"`. Default: Keras' global policy.
            data_format: See the class.
            name: The Keras model's name.
            **kwargs: `subfolder`; `proxies` for `"http"` and `"https"`; anything else overrides a config
                field, e.g. `num_labels=19`.

        Returns:
            The model; with `output_loading_info` the tuple of the model and that dict.

        Raises:
            CheckpointNotFoundError: the repository, revision or a file is not there or cannot be fetched; a
                CheckpointError and an OSError.
            CheckpointError: files are unreadable or do not fit the model; the message lists missing (-),
                unexpected (+) and misshapen (≠) weights and says what to do.
            ConfigError: the config cannot be used.
            TypeError: a keyword is neither an argument nor a config field.
        """
        from tf_segformer.loading import load_pretrained

        return load_pretrained(
            cls,
            pretrained_model_name_or_path,
            config=config,
            from_pt=from_pt,
            use_safetensors=use_safetensors,
            variant=variant,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            output_loading_info=output_loading_info,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            revision=revision,
            model_arguments={"dtype": dtype, "data_format": data_format, "name": name},
            **kwargs,
        )

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        saved_model: bool = False,
        version: int = 1,
        push_to_hub: bool = False,
        signatures: Any = None,
        max_shard_size: int | str = "5GB",
        create_pr: bool = False,
        safe_serialization: bool = False,
        token: str | bool | None = None,
        *,
        to_pt: bool = False,
        file_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Write `config.json` and the weights as a folder that `from_pretrained` reads.

        The folder's earlier model is replaced; a crash at any moment leaves the old one or the new one.
        Weights in another format stay if they hold the same values, else their names get `.replaced`
        appended, with a warning. See `docs/loading-and-saving.md`.

        Args:
            save_directory: The folder; made if it does not exist.
            saved_model: Write a SavedModel to `saved_model/VERSION` too: pixel values of any size in, the
                model's outputs out. `python -m serving export` makes one that takes image bytes.
            version: Its number.
            push_to_hub: Upload what was written; `kwargs` are then those of `push_to_hub`, and `repo_id`
                is the folder's name unless given.
            signatures: Of the SavedModel instead of `serving_default`: a `tf.function`, or a dict of them.
            max_shard_size: Larger weights are split; bytes, or a text such as `"200MB"`.
            create_pr: With `push_to_hub`, as a pull request.
            safe_serialization: Write `model.safetensors` in TensorFlow's layout instead of `tf_model.h5`.
            token: For the Hub.
            to_pt: Write the `model.safetensors` of the PyTorch class of the same name.
            file_format: `"h5"` (default), `"safetensors"` or `"keras"`.
            **kwargs: See `push_to_hub`.

        Raises:
            NotADirectoryError: `save_directory` is a file.
            OSError: it cannot be written. What was there is as it was.
            ValueError: arguments contradict each other or name nothing.
        """
        from tf_segformer.publishing import save_and_publish
        from tf_segformer.saving import save_model

        save_and_publish(
            partial(
                save_model,
                self,
                saved_model=saved_model,
                version=version,
                signatures=signatures,
                max_shard_size=max_shard_size,
                safe_serialization=safe_serialization,
                to_pt=to_pt,
                file_format=file_format,
            ),
            save_directory,
            push_to_hub=push_to_hub,
            create_pr=create_pr,
            token=token,
            **kwargs,
        )

    def push_to_hub(
        self,
        repo_id: str,
        use_temp_dir: bool | None = None,
        commit_message: str | None = None,
        private: bool | None = None,
        max_shard_size: int | str = "5GB",
        token: str | bool | None = None,
        use_auth_token: str | bool | None = None,
        create_pr: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Upload the model to the Hugging Face Hub, in one commit.

        Weights of the same format in the repository are replaced; those in other formats stay.

        Args:
            repo_id: `"owner/name"`, or `"name"` for a repository of one's own; made if it does not exist.
            use_temp_dir: False saves into the folder `name` and keeps it; the default is to do that if there
                is one.
            commit_message: Its first line.
            private: Of a new repository.
            max_shard_size: See `save_pretrained`.
            token: With write access. Default: that of `hf auth login`.
            use_auth_token: The older name of `token`.
            create_pr: Open a pull request instead.
            **kwargs: `commit_description`, `revision` (a branch, made if it does not exist); and of
                `save_pretrained` `safe_serialization`, `to_pt`, `file_format`, `saved_model`, `version`,
                `signatures`.

        Returns:
            huggingface_hub's `CommitInfo`.

        Raises:
            PublishError: the Hub refused or could not be reached.
        """
        from tf_segformer.publishing import publish_model

        return publish_model(
            self,
            repo_id,
            use_temp_dir=use_temp_dir,
            commit_message=commit_message,
            private=private,
            max_shard_size=max_shard_size,
            token=token if token is not None else use_auth_token,
            create_pr=create_pr,
            **kwargs,
        )
