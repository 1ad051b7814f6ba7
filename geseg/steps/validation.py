"""The validation images of a patch file: which epoch is the best, and from which probability a pixel is vessel."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geseg.data.patchfile import PatchFile, WholeImage
from geseg.data.scale import Diameters
from geseg.errors import DataError, StoppedError
from geseg.inference.memory import Halving
from geseg.inference.tiling import Net
from geseg.inference.torch_engine import TorchEngine
from geseg.metrics import overlap
from geseg.model.restrict import restrict
from geseg.model.unet import UNet
from geseg.progress import Stop, never
from geseg.steps.segmenting import Segmenter


@dataclass(frozen=True, slots=True)
class Score:
    """How a net does on the validation images.

    Attributes:
        dice: mean Dice at threshold 0.5; nan if there are no images.
        maps: the probabilities of each image.
    """

    dice: float
    maps: tuple[np.ndarray, ...]


class Validation:
    """Reads the images once; a file without any is no error, but nothing then tells which epoch is the best.

    Raises:
        DataError: an image shows no vessel, so that its Dice is undefined.
    """

    def __init__(self, file: PatchFile) -> None:
        self.wholes = list(file.whole("val"))
        self.labels = [_checked(file.path, whole) for whole in self.wholes]
        self.fovs = [whole.fov for whole in self.wholes]

    def score(self, net: UNet, device: str, learned: Diameters | None, stop: Stop = never) -> Score:
        """Segment all images with a net in evaluation mode, at the scale that it learned.

        Raises:
            StoppedError: `stop` said so, which is asked before each batch of tiles.
        """
        if not self.wholes:
            return Score(math.nan, ())
        segmenter = _segmenter(net, device, learned, stop)
        maps = tuple(segmenter.whole(whole) for whole in self.wholes)
        return Score(overlap.mean_dice(maps, self.labels, self.fovs), maps)

    def choose_threshold(self, score: Score) -> tuple[float | None, dict[str, float]]:
        """The threshold that the images tell, and what the header of a model says of it; None without images."""
        if not score.maps:
            return None, {}
        threshold, dice = overlap.choose_threshold(score.maps, self.labels, self.fovs)
        return threshold, {"val_dice_at_threshold": dice, "val_dice_at_0.5": score.dice}

    def calibre(self, net: UNet, device: str, learned: Diameters | None, stop: Stop = never) -> float | None:
        """Mean width in pixels of the vessels of the image in which a net finds the widest; None if it finds few.

        Raises:
            StoppedError: as `score`.
        """
        segmenter = _segmenter(net, device, learned, stop)
        widths = [segmenter.width_in(whole) for whole in self.wholes]
        return max((width for width in widths if width is not None), default=None)


def _segmenter(net: UNet, device: str, learned: Diameters | None, stop: Stop) -> Segmenter:
    return Segmenter(_stoppable(Halving(TorchEngine(restrict(net), device)), stop), net.divisor, learned)


def _stoppable(net: Net, stop: Stop) -> Net:
    """The same net, which does not go on when somebody wishes to stop."""

    def run(tiles: np.ndarray) -> np.ndarray:
        if stop():
            raise StoppedError("validation was stopped")
        return net(tiles)

    return run


def _checked(patches: Path, whole: WholeImage) -> np.ndarray:
    """The label, if it shows a vessel."""
    if whole.label is None or not (whole.label & whole.fov).any():
        name = f"{whole.record.dataset}/{whole.record.id}"
        raise DataError(
            f"{patches}: the label of the validation image {name} shows no vessel in the field of view, "
            "so that its Dice is undefined; correct the label, or prepare with another --seed"
        )
    return whole.label
