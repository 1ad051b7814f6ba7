"""How the weights that ship are trained: in cycles, the last of which varies the camera and counts half."""

import dataclasses
from collections.abc import Sequence
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
MEAN = "mean_sha256"
"""What the header of a mean of models calls their files."""


def run(config: TrainConfig, epochs: Sequence[int], camera_epochs: int) -> int:
    """Train in cycles of so many epochs, each from the weights of the one before; how many steps they took in all.

    A cycle draws its own order and augmentations, with the seed after that of the one before. One more, of
    `camera_epochs`, varies the camera, too; the model is then the mean of the weights with and without it. 0: none.

    The model is in the run folder of `config`, those before it in folders beside it: weights-1, weights-2, and so on.
    """
    assert config.out is not None, "a study names its run folders"
    every = [*epochs, *([camera_epochs] if camera_epochs else [])]
    folders = [config.out.with_name(f"{config.out.name}-{number}") for number in range(1, len(every) + 1)]
    if not camera_epochs:
        folders[-1] = config.out
    steps = 0
    for number, (out, many) in enumerate(zip(folders, every, strict=True)):
        cycle = dataclasses.replace(config, out=out, epochs=many, seed=config.seed + number)
        if number:
            cycle = dataclasses.replace(cycle, start=folders[number - 1], learning_rate=AGAIN, params=PARAMETERS)
        if number == len(epochs):
            cycle = dataclasses.replace(cycle, augmentation=dataclasses.replace(config.augmentation, camera=True))
        steps += training.run(cycle)
    if camera_epochs:
        write_mean(folders[-2] / WEIGHTS, folders[-1] / WEIGHTS, config)
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
