"""What a user waits for before any work starts."""

import subprocess
import sys
import time
from pathlib import Path

IMPORT = "import time; start = time.perf_counter(); import geseg; print(time.perf_counter() - start)"


def import_seconds() -> float:
    """Of `import geseg`, in a process that has imported nothing else."""
    return float(subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True).stdout)


def save_model(file: str, name: str) -> None:
    """Write a model of random weights and the widths that `geseg train --group` chooses."""
    from geseg.data.normalise import NORMALISATION
    from geseg.model import modelfile
    from geseg.model.group import Group
    from geseg.model.modelheader import ModelHeader
    from geseg.model.unet import build, find_widths
    from geseg.steps.trainconfig import TrainConfig

    net = build(Group.parse(name), find_widths(Group.parse(name), TrainConfig().params))
    header = ModelHeader(group=name, widths=net.widths, normalisation=NORMALISATION, threshold=0.5)
    modelfile.save(net, header, Path(file))


def build_and_load(file: str, name: str) -> dict[str, float]:
    """Seconds to find the widths of a net and build it, and then to load the same from its file, in a new process.

    Importing torch is not counted; importing e2cnn and sampling its bases is.
    """
    from geseg.model import modelfile
    from geseg.model.group import Group
    from geseg.model.unet import build, find_widths
    from geseg.steps.trainconfig import TrainConfig

    start = time.perf_counter()
    build(Group.parse(name), find_widths(Group.parse(name), TrainConfig().params))
    built = time.perf_counter()
    modelfile.load(Path(file))
    return {"build": built - start, "load": time.perf_counter() - built}
