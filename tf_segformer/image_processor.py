"""The image processor under its legacy name and arguments: images in, `pixel_values` and `labels` out."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import tensorflow as tf
from PIL.Image import Resampling
from transformers import BatchFeature

from tf_segformer.configuration import ConfigError
from tf_segformer.hub import HUB_ARGUMENTS
from tf_segformer.image_inputs import as_list, channels_first
from tf_segformer.image_steps import check_settings, labels_of, pixel_values_of, size_dict, stacked
from tf_segformer.preprocessing import IMAGENET_MEAN, IMAGENET_STD, read_processing_config
from tf_segformer.publishing import publish, save_and_publish
from tf_segformer.segmentation import find_processing_folder
from tf_segformer.semantic_maps import post_process

_SETTINGS = (
    "do_resize",
    "size",
    "resample",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    "do_reduce_labels",
    "do_convert_rgb",
)


class TFSegformerImageProcessor:
    """Prepares images and label maps for the models, as `SegformerImageProcessor` of transformers does.

    Pixel values equal those of its PIL backend bit for bit.

    Args:
        do_resize: Resize to `size`.
        size: `{"height": …, "width": …}`, an int (a square), `[height, width]`, or `{"shortest_edge": …}`
            with or without `"longest_edge"`, in pixels. Default: 512 × 512.
        resample: The filter for images, a `PIL.Image.Resampling`; label maps take the nearest pixel.
        do_rescale: Multiply levels by `rescale_factor`.
        rescale_factor: Usually 1/255.
        do_normalize: Subtract `image_mean` and divide by `image_std`.
        image_mean: One number, or one per channel, in units of rescaled levels. Default: ImageNet's.
        image_std: As `image_mean`.
        do_reduce_labels: In label maps, 0 becomes 255 (ignored), and other labels move down by one.
        do_convert_rgb: Make grayscale, palette and transparent images RGB, on white. Without it they are
            refused, as there are more or fewer channels than means.
        reduce_labels: The old spelling of `do_reduce_labels`.

    Raises:
        ValueError: an argument has no usable value.
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values"]

    def __init__(
        self,
        do_resize: bool = True,
        size: int | Sequence[int] | Mapping[str, int] | None = None,
        resample: int = Resampling.BILINEAR,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        image_mean: float | Sequence[float] | None = None,
        image_std: float | Sequence[float] | None = None,
        do_reduce_labels: bool = False,
        do_convert_rgb: bool | None = None,
        *,
        reduce_labels: bool | None = None,
    ) -> None:
        self.do_resize = do_resize
        self.size = size_dict({"height": 512, "width": 512} if size is None else size)
        self.resample = resample
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = list(IMAGENET_MEAN) if image_mean is None else image_mean
        self.image_std = list(IMAGENET_STD) if image_std is None else image_std
        self.do_reduce_labels = bool(do_reduce_labels or reduce_labels)
        self.do_convert_rgb = do_convert_rgb
        check_settings(vars(self))

    def __call__(self, images: Any, segmentation_maps: Any = None, **kwargs: Any) -> BatchFeature:
        """See `preprocess`."""
        return self.preprocess(images, segmentation_maps=segmentation_maps, **kwargs)

    def preprocess(
        self,
        images: Any,
        segmentation_maps: Any = None,
        do_resize: bool | None = None,
        size: int | Sequence[int] | Mapping[str, int] | None = None,
        resample: int | None = None,
        do_rescale: bool | None = None,
        rescale_factor: float | None = None,
        do_normalize: bool | None = None,
        image_mean: float | Sequence[float] | None = None,
        image_std: float | Sequence[float] | None = None,
        do_reduce_labels: bool | None = None,
        return_tensors: str | None = None,
        data_format: str = "channels_first",
        input_data_format: str | None = None,
        do_convert_rgb: bool | None = None,
        *,
        reduce_labels: bool | None = None,
    ) -> BatchFeature:
        """Prepare images, and label maps with them.

        The settings mean what they mean to the class; one that is None takes the processor's own value.

        Args:
            images: One or many: PIL images, arrays or tensors (H, W, C) or (C, H, W), batches or lists.
            segmentation_maps: As many label maps: PIL images or (H, W) of class ids 0…255.
            do_resize: Resize both.
            size: To this size.
            resample: With this filter, the images.
            do_rescale: Multiply the images' levels.
            rescale_factor: By this factor.
            do_normalize: Normalise the images.
            image_mean: Subtract this.
            image_std: Divide by this.
            do_reduce_labels: Make the label maps' 0 the ignore index.
            return_tensors: `"tf"`, `"np"`, or None for lists of arrays.
            data_format: Of the result, `"channels_first"` or `"channels_last"`.
            input_data_format: Of array images; None tells by the number of channels.
            do_convert_rgb: Make the images RGB.
            reduce_labels: The old spelling of `do_reduce_labels`, which wins.

        Returns:
            A dict with attributes: `pixel_values`, float32 (B, C, H, W), and with label maps `labels`,
            int64 (B, H, W).

        Raises:
            ValueError: an image or an argument cannot be used; the message says which and what to do.
        """
        if do_reduce_labels is None:
            do_reduce_labels = reduce_labels
        given = {name: value for name, value in locals().items() if name in _SETTINGS and value is not None}
        settings = {name: getattr(self, name) for name in _SETTINGS} | given
        settings["size"] = size_dict(settings["size"])
        check_settings(settings)
        _check_choice("return_tensors", return_tensors, (None, "tf", "np"))
        _check_choice("data_format", data_format, ("channels_first", "channels_last"))
        _check_choice("input_data_format", input_data_format, (None, "channels_first", "channels_last"))

        data: dict[str, Any] = {"pixel_values": []}
        for index, image in enumerate(as_list(images, 3, "images")):
            what = f"images[{index}]"
            array = channels_first(
                image,
                convert_rgb=bool(settings["do_convert_rgb"]),
                input_data_format=input_data_format,
                what=what,
            )
            values = pixel_values_of(array, settings, what)
            data["pixel_values"].append(
                np.moveaxis(values, 0, -1) if data_format == "channels_last" else values
            )
        if segmentation_maps is not None:
            maps, count = as_list(segmentation_maps, 2, "segmentation_maps"), len(data["pixel_values"])
            if len(maps) != count:
                raise ValueError(f"{len(maps)} segmentation_maps for {count} images; expected one each.")
            data["labels"] = [
                labels_of(each, settings, f"segmentation_maps[{index}]") for index, each in enumerate(maps)
            ]
        if return_tensors is not None:
            data = {name: stacked(arrays, name) for name, arrays in data.items()}
        if return_tensors == "tf":
            data = {name: tf.convert_to_tensor(array) for name, array in data.items()}
        return BatchFeature(data)

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sequence[tuple[int, int]] | tf.Tensor | None = None,
        return_segmentation_scores: bool = False,
    ) -> list[tf.Tensor] | list[BatchFeature]:
        """Label maps of a segmentation model's outputs; see `semantic_maps.post_process`."""
        return post_process(outputs, target_sizes, return_segmentation_scores)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: bool | str | None = None,
        revision: str = "main",
        **kwargs: Any,
    ) -> Self:
        """Read a checkpoint's `preprocessor_config.json` (or `processor_config.json`), old or new.

        Args:
            pretrained_model_name_or_path: A folder or a Hub id.
            cache_dir: As all that follow, of the Hub; see `from_pretrained` of the models.
            force_download: …
            local_files_only: …
            token: …
            revision: …
            **kwargs: `subfolder`; anything else replaces an entry of the file, e.g. `size=1024`.

        Raises:
            CheckpointError: there is no such file.
            ConfigError: it cannot be read, or an entry cannot be used.
        """
        hub = {
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": local_files_only,
            "token": token,
            "revision": revision,
        }
        hub |= {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs}
        folder = find_processing_folder(pretrained_model_name_or_path, **hub)
        try:
            return cls.from_dict(read_processing_config(folder), **kwargs)
        except ValueError as error:
            raise ConfigError(f"{folder}: {error}") from error

    @classmethod
    def from_dict(cls, image_processor_dict: Mapping[str, Any], **kwargs: Any) -> Self:
        """A processor with the entries of a config file.

        Unknown entries have no effect. `kwargs` replace entries; of `reduce_labels` and `do_reduce_labels`
        the new spelling wins.
        """
        entries = {**image_processor_dict, **kwargs}
        newest = [each for each in (kwargs, image_processor_dict) if "do_reduce_labels" in each]
        oldest = [each for each in (kwargs, image_processor_dict) if "reduce_labels" in each]
        if oldest and (not newest or (oldest[0] is kwargs and newest[0] is not kwargs)):
            entries["do_reduce_labels"] = oldest[0]["reduce_labels"]
        known = {name: entries[name] for name in _SETTINGS if entries.get(name) is not None}
        if isinstance(known.get("size"), int) and entries.get("default_to_square") is False:
            known["size"] = {"shortest_edge": known["size"]}
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """The entries of a `preprocessor_config.json`, as transformers reads them."""
        entries = {name: getattr(self, name) for name in _SETTINGS if getattr(self, name) is not None}
        entries |= {"resample": int(self.resample), "image_processor_type": "SegformerImageProcessor"}
        return entries

    def to_json_string(self) -> str:
        """The text of a `preprocessor_config.json`."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Write `preprocessor_config.json` into a folder, as a whole or not at all.

        Args:
            save_directory: The folder; made if it does not exist.
            push_to_hub: Upload the file; `kwargs` are then those of `push_to_hub`, and `repo_id` is the
                folder's name unless given.
            **kwargs: See `push_to_hub`.

        Returns:
            The file's path.
        """
        written = save_and_publish(self._write, save_directory, push_to_hub=push_to_hub, **kwargs)
        return [str(Path(save_directory) / name) for name in written]

    def push_to_hub(
        self,
        repo_id: str,
        use_temp_dir: bool | None = None,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
        revision: str | None = None,
        commit_description: str | None = None,
    ) -> Any:
        """Upload `preprocessor_config.json` to the Hugging Face Hub; other files there stay.

        The arguments, the result and the errors are those of the models' `push_to_hub`.
        """
        return publish(
            self._write,
            repo_id,
            use_temp_dir=use_temp_dir,
            commit_message=commit_message or "Upload image processor",
            private=private,
            token=token,
            create_pr=create_pr,
            revision=revision,
            commit_description=commit_description,
        )

    def _write(self, folder: Path) -> list[str]:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "preprocessor_config.json"
        unfinished = folder / f".{path.name}.{os.getpid()}"
        try:
            unfinished.write_text(self.to_json_string(), encoding="utf-8")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return [path.name]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string().rstrip()}"


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name} is {value!r}; expected one of {listed}.")
