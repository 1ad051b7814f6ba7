"""Segments one photograph with onnxruntime, numpy and Pillow alone: python onnx_alone.py MODEL.onnx PHOTO OUT.npy.

At the photograph's own scale; `geseg predict` also brings it to the scale that the model has learned.
"""

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
lit = image[image[:, :, 0] > image[:, :, 0].max() / 10]  # header["normalisation"] says this in words
normalised = ((image - lit.mean(0)) / lit.std(0)).transpose(2, 0, 1).astype(np.float32)
more = [(0, -side % header["divisor"]) for side in (height, width)]  # the graph takes sides divisible by this
batch = np.pad(normalised, ((0, 0), *more), mode="reflect")[None]
np.save(sys.argv[3], session.run(["probability"], {"image": batch})[0][0, 0, :height, :width])
