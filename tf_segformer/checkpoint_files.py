"""The names of the files that hold weights, and the order in which they are looked for."""

import re

SAFETENSORS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"
H5_FILE = "tf_model.h5"
KERAS_FILE = "model.keras"

# Safetensors come first: they cannot run code and are read without a copy. Then what needs no torch;
# pickles last.
FORMATS = (SAFETENSORS_FILE, H5_FILE, KERAS_FILE, PICKLE_FILE)
_PYTORCH = {SAFETENSORS_FILE, PICKLE_FILE}


def weights_files(
    from_pt: bool | None = None, use_safetensors: bool | None = None, variant: str | None = None
) -> tuple[str, ...]:
    """The file names to look for, in order of preference; each whole file before its sharded form.

    Args:
        from_pt: True leaves out the files that only TensorFlow writes, False the pickles.
        use_safetensors: True leaves out everything but safetensors, False safetensors.
        variant: Comes before the file's last suffix, as transformers does it: `model.fp16.safetensors`,
            `model.safetensors.index.fp16.json`.
    """
    kinds = [
        kind
        for kind in FORMATS
        if (kind != PICKLE_FILE if from_pt is False else not from_pt or kind in _PYTORCH)
        and (use_safetensors is None or (kind == SAFETENSORS_FILE) == use_safetensors)
    ]
    names = []
    for kind in kinds:
        names.append(kind)
        if kind != KERAS_FILE:
            names.append(f"{kind}.index.json")
    return tuple(_with_variant(name, variant) for name in names)


def _with_variant(name: str, variant: str | None) -> str:
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}" if variant else name


def is_index(name: str) -> bool:
    """Whether this is the index JSON of a sharded checkpoint, a variant's too."""
    return ".index." in name and name.endswith(".json")


def weights_format(name: str) -> str | None:
    """Which of `FORMATS` a file without a variant belongs to, whole, shard or index; None for other files."""
    for kind in FORMATS:
        stem, suffix = (re.escape(part) for part in kind.rsplit(".", 1))
        if re.fullmatch(rf"{stem}(-\d+-of-\d+)?\.{suffix}|{stem}\.{suffix}\.index\.json", name):
            return kind
    return None
