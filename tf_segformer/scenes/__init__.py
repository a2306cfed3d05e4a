"""Drawn scenes with labels: rooms, streets and open country, in ADE20K's classes and layout.

A stand-in for a data set that cannot be shipped (docs/scenes.md). Start reading at `scene.py`. Only numpy
and Pillow are used.
"""

from tf_segformer.scenes.classes import ID, NAMES, UNLABELLED
from tf_segformer.scenes.scene import Scene, draw_scene

__all__ = ["ID", "NAMES", "UNLABELLED", "Scene", "draw_scene"]
