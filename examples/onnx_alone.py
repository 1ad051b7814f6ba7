"""Segments one photograph with onnxruntime, numpy and Pillow alone: python onnx_alone.py MODEL.onnx PHOTO OUT.npy."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
header = json.loads(session.get_modelmeta().custom_metadata_map["geseg"])
image = np.asarray(Image.open(sys.argv[2]).convert("RGB")).astype(np.float64)
if image.shape[0] % header["divisor"] or image.shape[1] % header["divisor"]:
    sys.exit(f"the sides of {sys.argv[2]} must be divisible by {header['divisor']}")
lit = image[image[:, :, 0] > image[:, :, 0].max() / 10]  # header["normalisation"] says this in words
batch = ((image - lit.mean(0)) / lit.std(0)).transpose(2, 0, 1)[None].astype(np.float32)
np.save(sys.argv[3], session.run(["probability"], {"image": batch})[0][0, 0])
