"""The classes that scenes hold: a part of ADE20K's 150, under ADE20K's numbers."""

from tf_segformer.labels import ADE20K

NAMES = (
    "wall",
    "building",
    "sky",
    "floor",
    "tree",
    "ceiling",
    "road",
    "bed",
    "windowpane",
    "grass",
    "cabinet",
    "person",
    "door",
    "table",
    "mountain",
    "curtain",
    "chair",
    "car",
    "water",
    "painting",
    "fence",
    "lamp",
)

# Class numbers as a model predicts them, 0 to 149; files store the number plus one.
ID = {name: ADE20K.names.index(name) for name in NAMES}

# What no class describes: 0 in a file, 255 after the zero label has been reduced.
UNLABELLED = 255
