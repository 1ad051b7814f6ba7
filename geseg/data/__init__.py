"""Data sets, images and the patch file; numpy, no torch."""
