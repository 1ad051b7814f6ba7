"""From a model file to the probability map of an image of any size; numpy and onnxruntime."""
