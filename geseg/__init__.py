"""Segmentation of thin structures with U-Nets that are equivariant under rotations and reflections."""

__version__ = "0.1.0"
