"""Figures are consistent with the counts they are said to come from, as mlscorecheck finds it out by itself."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from mlscorecheck.check.binary import check_n_testsets_mos_no_kfold, check_n_testsets_som_no_kfold
from mlscorecheck.check.bundles.retina import check_drive_vessel_aggregated, check_drive_vessel_image

from geseg.data.images import read_mask
from geseg.metrics import overlap
from geseg.metrics.overlap import Counts

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the solver, to mlscorecheck
EPS = 1e-4
"""Uncertainty of a figure with four decimals."""


def table(c: Counts) -> dict[str, float]:
    return {"acc": overlap.accuracy(c), "sens": overlap.sensitivity(c), "spec": overlap.specificity(c)}


def mean_of_images(counts: Sequence[Counts]) -> dict[str, float]:
    rows = [table(c) for c in counts]
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}


def pooled(counts: Sequence[Counts]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in table(sum(counts, Counts(0, 0, 0, 0))).items()}


def drawn() -> list[Counts]:
    """Counts of five maps, inside a field of view that covers two thirds."""
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(5):
        label, fov = rng.random((2, 80, 90)) < np.array([0.12, 0.67])[:, None, None]
        counts.append(overlap.count(rng.beta(1 + 2 * label, 3 - 2 * label).astype(np.float32), label, fov))
    return counts


def test_a_table_of_means_and_one_of_pooled_pixels_are_consistent() -> None:
    counts = drawn()
    sizes = [{"p": c.tp + c.fn, "n": c.tn + c.fp} for c in counts]
    for scores, check in (
        (mean_of_images(counts), check_n_testsets_mos_no_kfold),
        (pooled(counts), check_n_testsets_som_no_kfold),
    ):
        assert not check(testsets=sizes, scores=scores, eps=EPS)["inconsistency"]
        wrong = scores | {"acc": scores["acc"] + 0.05}
        assert check(testsets=sizes, scores=wrong, eps=EPS)["inconsistency"], "the check would let anything pass"


def real(folder: Path, number: int, everywhere: bool = False) -> Counts:
    """The label of a DRIVE image, moved down by a pixel, taken as a map."""
    label = read_mask(folder / "1st_manual" / f"{number}_manual1.gif")
    fov = read_mask(folder / "mask" / f"{number}_training_mask.gif")
    return overlap.count(np.roll(label, 1, 0).astype(np.float32), label, fov | everywhere)


@pytest.mark.parametrize("number", [21, 40])
def test_an_image_of_drive_counts_in_its_field_of_view(real_data: Path, number: int) -> None:
    """Against the numbers of pixels that mlscorecheck knows of DRIVE."""
    scores = {name: round(value, 4) for name, value in table(real(real_data / "DRIVE" / "training", number)).items()}
    found = check_drive_vessel_image(image_identifier=str(number), annotator=1, scores=scores, eps=EPS)
    assert found["inconsistency"] == {"inconsistency_fov": False, "inconsistency_all": True}


def test_a_table_of_drive_says_by_itself_what_it_is(real_data: Path) -> None:
    counts = [real(real_data / "DRIVE" / "training", number) for number in range(21, 41)]
    found = check_drive_vessel_aggregated(imageset="train", annotator=1, scores=mean_of_images(counts), eps=EPS)
    assert [kind for kind, wrong in found["inconsistency"].items() if not wrong] == ["inconsistency_fov_mos"]
    found = check_drive_vessel_aggregated(imageset="train", annotator=1, scores=pooled(counts), eps=EPS)
    assert not found["inconsistency"]["inconsistency_fov_som"]
    everywhere = [real(real_data / "DRIVE" / "training", number, everywhere=True) for number in range(21, 41)]
    found = check_drive_vessel_aggregated(imageset="train", annotator=1, scores=pooled(everywhere), eps=EPS)
    assert found["inconsistency"]["inconsistency_fov_som"]
    assert not found["inconsistency"]["inconsistency_all_som"]
