"""Reads files as geseg does, in a process of its own that may crash, hang or be killed.

For each line on stdin, a kind, a tab and a path, a line of JSON on stdout: "read" with a digest of all that was read,
"refused" with the message, or "traceback"; the seconds it took; and the most memory so far, in bytes.
"""

import hashlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from geseg.errors import GesegError


def read_patches(path: Path) -> list[object]:
    from geseg.data.patchfile import PatchFile

    with PatchFile.open(path) as file:
        samples = file.train_samples
        found: list[object] = [file.header.to_json(), samples, file.train_patches(range(len(samples)))]
        for number, record in enumerate(file.header.samples):
            if record.split != "train":
                whole = file.whole_image(number)
                found += [whole.image, whole.fov, whole.label, whole.second]
        return found


def read_model(path: Path) -> list[object]:
    from geseg.model import modelfile

    net, header = modelfile.load(path)
    return [header.to_json(), *(value for _, tensor in sorted(net.state_dict().items()) for value in [tensor.numpy()])]


def read_onnx(path: Path) -> list[object]:
    import numpy as np

    from geseg.inference.onnx_engine import OnnxEngine

    engine = OnnxEngine(path, "cpu", threads=1)
    tile = np.linspace(-1, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)
    return [engine.header.to_json(), engine(tile)]


def read_mask(path: Path) -> list[object]:
    from geseg.data.images import read_mask
    from geseg.steps import info

    found = info.run(info.InfoConfig(file=path))
    return [found.kind, json.dumps(found.header), read_mask(path)]


def read_image(path: Path) -> list[object]:
    from geseg.data.images import read_image

    return [read_image(path)]


READ: dict[str, Callable[[Path], list[object]]] = {
    "patches": read_patches,
    "model": read_model,
    "onnx": read_onnx,
    "mask": read_mask,
    "image": read_image,
}


def digest(parts: list[object]) -> str:
    """Of texts and arrays."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part.tobytes() if hasattr(part, "tobytes") else str(part).encode())  # type: ignore[attr-defined]
        found.update(str(getattr(part, "shape", "")).encode())
    return found.hexdigest()


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for the other side
    for line in sys.stdin:
        kind, _, path = line.rstrip("\n").partition("\t")
        start, told = time.monotonic(), ""
        try:
            outcome, told = "read", digest(READ[kind](Path(path)))
        except GesegError as error:
            outcome, told = "refused", str(error)
        except BaseException:
            outcome, told = "traceback", traceback.format_exc()
        seconds, peak = time.monotonic() - start, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps([outcome, told, seconds, peak]), file=out, flush=True)


if __name__ == "__main__":
    main()
