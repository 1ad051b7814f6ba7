"""What is said of a mask: figures that can be checked by hand, and reasons to look at photographs that were spoilt."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from geseg.data import drawn, images, quality
from geseg.data.fov import find_fov
from geseg.data.quality import Quality
from geseg.steps import review
from geseg.steps.predict import PredictConfig, run
from geseg.steps.predictreport import NAME, ImageRow, Report

SHARE = 0.1
"""A usual share of vessels, where only the photograph matters."""


def reasons(image: np.ndarray) -> tuple[str, ...]:
    return review.reasons(quality.measure(image, find_fov(image)), SHARE)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([ndimage.gaussian_filter(image[..., k], sigma) for k in range(3)], -1)


def test_entropy_by_hand() -> None:
    half, none = np.full(8, 0.5, np.float32), np.array([0, 1, 1, 0], np.float32)
    assert review.entropy_bits(half) == pytest.approx(1, abs=1e-8)
    assert review.entropy_bits(none) == 0
    quarter = -0.25 * math.log2(0.25) - 0.75 * math.log2(0.75)
    assert review.entropy_bits(np.array([0.25, 0, 0.75, 1], np.float32)) == pytest.approx(quarter / 2, abs=1e-4)


def test_figures_are_those_of_the_field_of_view() -> None:
    fov = np.zeros((20, 20), bool)
    fov[5:15, 5:15] = True
    probability = np.ones((20, 20), np.float32)
    probability[5:15, 5:15] = 0.25
    probability[5, 5:15] = 0.5
    trust = review.judge(GOOD, fov, probability, 0.5, 1.25)
    assert (trust.fov, trust.fov_share, trust.scale, trust.vessel_share) == ("found", 0.25, 1.25, 0.1)
    assert trust.entropy_bits == pytest.approx(0.1 + 0.9 * 0.811278, abs=1e-4)


GOOD = Quality(brightness=150, redness=1.0, sharpness=2.2, solidity=0.995, fill=0.785, aspect=1.0)


@pytest.mark.parametrize(
    ("change", "share", "reason"),
    [
        ({}, SHARE, None),
        ({"redness": 0.5}, SHARE, "not a colour photograph of a fundus"),
        ({"brightness": 30}, SHARE, "too dark"),
        ({"sharpness": 1.2}, SHARE, "blurred"),
        ({"solidity": 0.95}, SHARE, "field of view doubtful"),
        ({"fill": 1.0}, SHARE, "field of view doubtful"),
        ({"fill": 0.5}, SHARE, "field of view doubtful"),
        ({"aspect": 2.0}, SHARE, "field of view doubtful"),
        ({}, 0.0, "vessel share unusual"),
        ({}, 0.4, "vessel share unusual"),
    ],
)
def test_every_limit_has_its_reason(change: dict[str, float], share: float, reason: str | None) -> None:
    import dataclasses

    assert review.reasons(dataclasses.replace(GOOD, **change), share) == (() if reason is None else (reason,))


SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_drawn_photographs_spoilt_in_known_ways(seed: int) -> None:
    side = (400, 560, 700)[seed % 3]
    image = drawn.draw(seed, side, side + 20).image
    assert reasons(image) == ()
    assert reasons(blur(image, 0.01 * side)) == ("blurred",)
    assert reasons((image * 0.2).astype(np.uint8)) == ("too dark",)
    assert "field of view doubtful" in reasons(image[side // 3 : -side // 3, side // 3 : -side // 3])
    grey = np.repeat(image[..., 1:2], 3, axis=2)
    assert "not a colour photograph of a fundus" in reasons(grey)


def page() -> np.ndarray:
    picture = Image.new("RGB", (600, 800), "white")
    for line in range(20, 780, 14):
        ImageDraw.Draw(picture).text((30, line), "the quick brown fox jumps over the lazy dog " * 2, fill="black")
    return np.asarray(picture)


def landscape() -> np.ndarray:
    y, x = np.mgrid[:480, :640] / 480
    sky, meadow = np.array([110.0, 170, 230]), np.array([70.0, 120, 50])
    scene = np.where((y > 0.5 + 0.1 * np.sin(7 * x))[..., None], meadow, sky)
    return (scene + np.random.default_rng(0).normal(0, 6, scene.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        page(),
        landscape(),
        np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8),
        np.zeros((400, 500, 3), np.uint8),
        np.full((400, 500, 3), 255, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
    ],
    ids=["page", "landscape", "noise", "black", "white", "pixel"],
)
def test_what_is_no_fundus(image: np.ndarray) -> None:
    assert {"not a colour photograph of a fundus", "field of view doubtful"} <= set(reasons(image))


def test_good_photographs_raise_no_alarm(real_data: Path) -> None:
    """What the limits are of; DRIVE's test photographs had no part in it."""
    folders = [*("DRIVE/training/images", "DRIVE/test/images", "STARE/stare-images", "HRF/images"), "CHASEDB1"]
    paths = [path for folder in folders for path in sorted((real_data / folder).iterdir()) if "HO" not in path.name]
    paths = [path for path in paths if not path.match("HRF/images/*") or path.name.startswith("01")]
    alarms = {path.name: found for path in paths if (found := reasons(images.read_image(path)))}
    assert len(paths) == 20 + 20 + 10 + 3 + 8
    assert alarms == {}


def test_blurred_and_darkened_photographs_are_found(real_data: Path) -> None:
    for path in sorted((real_data / "DRIVE" / "training" / "images").iterdir())[:5]:
        image = images.read_image(path)
        assert reasons(blur(image, 0.006 * 540)) == ("blurred",)
        assert reasons((image * 0.2).astype(np.uint8)) == ("too dark",)


def test_the_report(
    draw_eye: Callable,  # type: ignore[type-arg]
    tmp_path: Path,
    run_folder: Path,
    auto_engine: Callable[[str], str],
) -> None:
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    (photos / "sub").mkdir(parents=True)
    for seed, name in enumerate(("b.png", "sub/a.png")):
        Image.fromarray(draw_eye(seed)[0]).save(photos / name)
    (photos / "c.jpg").write_text("no image")
    config = PredictConfig(
        images=photos, out=masks, probabilities=tmp_path / "p", model=run_folder, recursive=True, device="cpu"
    )
    result = run(config)
    report = json.loads((masks / NAME).read_text())
    rows = report.pop("images")
    assert [row["image"] for row in rows] == ["b.png", "c.jpg", "sub/a.png"], "as the photographs are listed"
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert (report["done"], report["failed"], report["waiting"], report["to_review"]) == (2, 1, 0, result.to_review)
    assert (report["report"], report["engine"], report["device"]) == ("geseg predict", auto_engine("cpu"), "cpu")
    assert report["threshold"] == result.threshold
    assert set(rows[0]) == {
        *("image", "status", "reason", "seconds", "fov", "fov_share", "scale", "vessel_share", "entropy_bits", "review")
    }
    for row in (rows[0], rows[2]):
        image = images.read_image(photos / row["image"])
        fov, p = find_fov(image), images.read_pixels(tmp_path / "p" / row["image"])[..., 0] / 65535
        assert row["fov_share"] == pytest.approx(fov.mean(), abs=1e-6)
        assert row["vessel_share"] == pytest.approx(images.read_mask(masks / row["image"]).sum() / fov.sum(), abs=1e-6)
        inside = p[fov & (p > 0) & (p < 1)]
        entropy = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside)).sum() / fov.sum()
        assert row["entropy_bits"] == pytest.approx(entropy, abs=1e-6), "what a probability map says, too"
    assert result.to_review == sum(bool(row["review"]) for row in rows)


def test_every_field_of_a_row_is_explained() -> None:
    """Their names are a promise; see the docstrings below them."""
    import inspect

    for kind in (ImageRow, review.Trust):
        source = inspect.getsource(kind)
        for field in kind.__dataclass_fields__:
            assert f"    {field}: " in source
            assert '"""' in source.split(f"    {field}: ")[1].split("\n")[1], f"{kind.__name__}.{field}"
    assert Report.__doc__
