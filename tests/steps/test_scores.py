"""Figures of images and over images, against sums by hand."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_auc_score

from geseg.data.patchfile import SampleRecord, WholeImage
from geseg.metrics import topology
from geseg.steps.scores import ALL, Row, Scores, tally

THRESHOLDS = {"0.5": 0.5, "fixed": 0.3}
FOV, EVERYWHERE = Row("model", "fov", "0.5"), Row("model", "all", "0.5")
SECOND = Row("second observer", "fov", "mask")


RECORD = SampleRecord(
    dataset="eyes",
    id="1",
    stem="1",
    person="1",
    split="test",
    height=40,
    width=50,
    diameter=None,
    mean=(0.0, 0.0, 0.0),
    contrast=(1.0, 1.0, 1.0),
    fov="given",
    labelled=True,
    patches=0,
    image_sha256="",
    label_sha256="",
    fov_sha256="",
    second_sha256=None,
)


def an_image(seed: int, second: bool = True) -> tuple[WholeImage, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.zeros((40, 50), bool)
    label[rng.integers(2, 38)] = label[:, rng.integers(2, 48)] = True
    probability = np.where(label, rng.beta(4, 2, label.shape), rng.beta(1, 5, label.shape)).astype(np.float32)
    fov = np.ones_like(label)
    fov[:, :12] = False
    observer = label ^ (rng.random(label.shape) < 0.02) if second else None
    image = np.zeros((*label.shape, 3), np.uint8)
    return WholeImage(RECORD, image, label, fov, observer), probability


def test_figures_of_an_image_are_those_of_scikit_learn() -> None:
    whole, probability = an_image(0)
    assert whole.label is not None
    assert whole.second is not None
    rows = {row: t.figures() for row, t in tally(whole, probability, THRESHOLDS).items()}
    for region, inside in (("fov", whole.fov), ("all", np.ones_like(whole.fov))):
        truth, p = whole.label[inside], probability[inside]
        for at, threshold in THRESHOLDS.items():
            figures = rows[Row("model", region, at)]  # type: ignore[arg-type]
            assert figures["dice"] == pytest.approx(f1_score(truth, p >= threshold))
            assert figures["mcc"] == pytest.approx(matthews_corrcoef(truth, p >= threshold))
            assert figures["auc"] == pytest.approx(roc_auc_score(truth, p), abs=1e-5)
            assert figures["aupr"] == pytest.approx(average_precision_score(truth, p), abs=1e-4)
        human = rows[Row("second observer", region, "mask")]  # type: ignore[arg-type]
        assert human["dice"] == pytest.approx(f1_score(truth, whole.second[inside]))
        assert math.isnan(human["auc"])


def test_the_region_matters() -> None:
    whole, probability = an_image(1)
    rows = {row: t.figures() for row, t in tally(whole, probability, THRESHOLDS).items()}
    assert rows[FOV]["accuracy"] != rows[EVERYWHERE]["accuracy"]
    assert rows[FOV]["cldice"] != rows[EVERYWHERE]["cldice"]


def test_masks_that_are_alike_are_thinned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a second for a large one; cut by the field of view or not, masks are mostly the same."""
    whole, probability = an_image(3, second=False)
    assert whole.label is not None
    whole, probability = dataclasses.replace(whole, label=whole.label & whole.fov), probability * whole.fov
    thinned, thin = list[np.ndarray](), topology.thin
    monkeypatch.setattr(topology, "thin", lambda mask: thinned.append(mask) or thin(mask))
    rows = tally(whole, probability, {"0.5": 0.5, "fixed": 0.5})
    assert len(thinned) == 2
    alone = topology.centrelines(probability >= 0.5, whole.label, whole.fov)
    assert [t.centrelines for t in rows.values()] == [alone] * 4
    thinned.clear()
    tally(whole, probability, THRESHOLDS)
    assert len(thinned) == 3


def test_a_mask_has_no_areas() -> None:
    whole, probability = an_image(2)
    figures = tally(whole, (probability >= 0.5).astype(np.float32), {"0.5": 0.5})[FOV].figures()
    assert [math.isnan(figures[name]) for name in ("auc", "aupr", "ece", "dice")] == [True, True, True, False]


def scored(*images: tuple[str, int, bool]) -> Scores:
    scores = Scores()
    for dataset, seed, second in images:
        whole, probability = an_image(seed, second)
        scores.add(dataset, str(seed), tally(whole, probability, THRESHOLDS))
    return scores


def test_mean_std_and_pooled() -> None:
    summary = scored(("eyes", 0, False), ("eyes", 1, False), ("eyes", 2, False)).summaries()["eyes"][FOV]
    wholes = [an_image(seed, False) for seed in range(3)]
    dices = [f1_score(w.label[w.fov], p[w.fov] >= 0.5) for w, p in wholes]  # type: ignore[index]
    assert summary.images == 3
    assert (summary.mean["dice"], summary.std["dice"]) == (pytest.approx(np.mean(dices)), pytest.approx(np.std(dices)))
    truth = np.concatenate([w.label[w.fov] for w, _ in wholes])  # type: ignore[index]
    p = np.concatenate([p[w.fov] for w, p in wholes])
    assert summary.pooled["dice"] == pytest.approx(f1_score(truth, p >= 0.5))
    assert summary.pooled["auc"] == pytest.approx(roc_auc_score(truth, p), abs=1e-5)
    assert summary.pooled["dice"] != summary.mean["dice"]


def test_data_sets_apart_and_together() -> None:
    scores = scored(("eyes", 0, False), ("dogs", 1, True), ("dogs", 2, False))
    summaries = scores.summaries()
    assert list(summaries) == ["eyes", "dogs", ALL]
    assert [summaries[name][FOV].images for name in summaries] == [1, 2, 3]
    assert SECOND not in summaries["eyes"]
    assert [summaries[name][SECOND].images for name in ("dogs", ALL)] == [1, 1]
    assert str(summaries[ALL][SECOND]) == str(summaries["dogs"][SECOND])
    assert list(scored(("eyes", 0, True)).summaries()) == ["eyes"]


def test_an_undefined_figure_stays_undefined() -> None:
    whole, probability = an_image(0)
    empty = dataclasses.replace(whole, label=np.zeros_like(whole.fov), second=None)
    scores = scored(("eyes", 1, False))
    scores.add("eyes", "0", tally(empty, probability, THRESHOLDS))
    summary = scores.summaries()["eyes"][FOV]
    assert math.isnan(summary.mean["sensitivity"])
    assert math.isnan(summary.mean["auc"])
    assert not math.isnan(summary.pooled["auc"])
