"""Segments one photograph with onnxruntime, numpy and Pillow alone: python onnx_alone.py MODEL.onnx PHOTO OUT.npy.

Probabilities at the photograph's own scale, which mean nothing outside of the field of view; `geseg predict` also finds
that, and brings the photograph to the scale that the model has learned. They turn with the photograph.
"""

import itertools
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

if len(sys.argv) != 4:
    sys.exit(__doc__)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
header = json.loads(session.get_modelmeta().custom_metadata_map["geseg"])
image = np.asarray(Image.open(sys.argv[2]).convert("RGB")).astype(np.float64)
height, width = image.shape[:2]

# as header["normalisation"] says in words
lit = image[:, :, 0] > image[:, :, 0].max() / 10
green, mean, std = np.where(lit, image[:, :, 1], np.nan), image[lit].mean(0), image[lit].std(0)
apart = max(1, round(0.02 * np.sqrt(lit.sum() / np.pi)))
differences = np.abs(np.concatenate([(g[apart:] - g[:-apart]).ravel() for g in (green, green.T)]))
differences = np.sort(differences[~np.isnan(differences)])
factor = 6 * differences[: len(differences) * 4 // 5].mean() / std[1]
normalised = (image - mean) / (std * np.clip(factor, 0.3, 3))

# the graph takes sides divisible by this; an odd number of pixels is added in both ways, as a turn swaps them
down, right = (-side % header["divisor"] for side in (height, width))
maps = []
for up, left in itertools.product({down // 2, down - down // 2}, {right // 2, right - right // 2}):
    around = (0, 0), (up, down - up), (left, right - left)
    batch = np.pad(normalised.transpose(2, 0, 1), around, mode="reflect")[None].astype(np.float32)
    (found,) = session.run(["probability"], {"image": batch})
    maps.append(found[0, 0, up : up + height, left : left + width])
np.save(sys.argv[3], np.mean(maps, 0))
