"""How the weights that ship are trained: in cycles, one of which counts half; the last one looks at centre lines."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geseg.data.patchfile import PatchFile
from geseg.errors import ConfigError
from geseg.files import sha256
from geseg.model import modelfile
from geseg.model.modelheader import read_header
from geseg.steps.runfolder import WEIGHTS
from geseg.steps.trainconfig import PARAMETERS, TrainConfig
from geseg.steps.validation import Validation
from studies import training

AGAIN = 0.01
"""Peak learning rate of a cycle that goes on from the weights of another one (restarts of the schedule: Loshchilov &
Hutter 2017, arXiv:1608.03983)."""
LINES = "dice+bce+cldice"
"""The loss of the last cycle."""
MEAN = "mean_sha256"
"""What the header of a mean of models calls their files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycles:
    """Epochs of each cycle of the learning rate."""

    first: Sequence[int]
    camera: int
    """Of one that varies the camera, too, and counts half; 0 for none."""
    lines: int
    """Of one that counts the centre lines of vessels, too; 0 for none."""


def run(config: TrainConfig, cycles: Cycles) -> int:
    """Train in cycles, each from the weights before it; how many steps they took in all.

    A cycle draws its own order and augmentations, with the seed after that of the one before. After the one that varies
    the camera, as the last one then does, too, the weights are the mean of those with and without it.

    The model is in the run folder of `config`, those before it in folders beside it: weights-1, weights-2, and so on.
    """
    assert config.out is not None, "a study names its run folders"
    varied = dataclasses.replace(
        config, augmentation=dataclasses.replace(config.augmentation, camera=cycles.camera > 0)
    )
    stages: list[TrainConfig | None] = [dataclasses.replace(config, epochs=many) for many in cycles.first]
    if cycles.camera:
        stages += [dataclasses.replace(varied, epochs=cycles.camera), None]
    if cycles.lines:
        stages += [dataclasses.replace(varied, epochs=cycles.lines, loss=LINES)]
    beside = [config.out.with_name(f"{config.out.name}-{number}") for number in range(1, len(stages))]
    folders, steps, seed = [*beside, config.out], 0, config.seed
    for place, (stage, out) in enumerate(zip(stages, folders, strict=True)):
        if stage is None:
            write_mean(folders[place - 2] / WEIGHTS, folders[place - 1] / WEIGHTS, dataclasses.replace(config, out=out))
            continue
        cycle = dataclasses.replace(stage, out=out, seed=seed)
        if place:
            cycle = dataclasses.replace(cycle, start=folders[place - 1], learning_rate=AGAIN, params=PARAMETERS)
        steps, seed = steps + training.run(cycle), seed + 1
    return steps


def write_mean(one: Path, other: Path, config: TrainConfig) -> None:
    """Write the mean of two models, the second of which goes on from the first, with a threshold of its own.

    Between such models loss hardly rises, and the mean is often better than both on what neither has seen (Wortsman et
    al. 2022, arXiv:2109.01903). The statistics of the norms are averaged like all weights.

    Raises:
        ConfigError: there is another model in the run folder already.
    """
    assert config.out is not None, "a study names its run folders"
    out, parents = config.out / WEIGHTS, [sha256(one), sha256(other)]
    if out.exists() and not config.overwrite:
        if read_header(out).training.get(MEAN) == parents:
            return
        raise ConfigError(f"{out} is no mean of {one} and {other}; choose another place with -o")
    (net, _), (second, header) = modelfile.load(one), modelfile.load(other)
    for mean, weights in zip(net.state_dict().values(), second.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(weights, 0.5)
    with PatchFile.open(config.patches) as file:
        validation = Validation(file)
        threshold, metrics = validation.choose_threshold(validation.score(net, config.device, header.diameters))
        calibres = header.calibre, validation.calibre(net, config.device, header.diameters)
    header = dataclasses.replace(
        header,
        threshold=header.threshold if threshold is None else threshold,
        calibre=max((calibre for calibre in calibres if calibre is not None), default=None),
        metrics=metrics,
        training=header.training | {MEAN: parents},
    )
    config.out.mkdir(parents=True, exist_ok=True)
    modelfile.save(net, header, out)
