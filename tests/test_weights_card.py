"""The model card of the weights that ship says what was measured, of the weights that are there."""

import json
from pathlib import Path
from typing import Any

from geseg.files import sha256
from geseg.model.modelheader import read_header
from geseg.steps import models

CARD = (models.FOLDER / "README.md").read_text()
RESULTS = Path(__file__).parents[1] / "examples" / "results" / "weights.json"
COLUMNS = ("dice", "cldice", "sensitivity", "specificity", "auc", "ece")


def test_the_table_is_that_of_the_results() -> None:
    rows = [row for row in json.loads(RESULTS.read_text())["summary"] if (row["region"], row["at"]) == ("fov", "fixed")]
    assert {row["dataset"] for row in rows} >= {"drive", "stare", "chasedb1", "hrf"}
    for row in rows:
        if row["by"] == "model":
            figures = " | ".join(f"{row['mean'][name]:.4f}" for name in COLUMNS)
            assert f"| {row['dataset']} | {row['images']} | {figures} |" in CARD


def test_the_row_of_several_angles_is_that_of_the_results() -> None:
    values = json.loads(RESULTS.with_name("weights-turns.json").read_text())
    assert values["made_by"].endswith("mean of 3 angles")
    few = {row["dataset"]: row["mean"] for row in json.loads(RESULTS.read_text())["summary"] if own(row)}
    many = {row["dataset"]: row["mean"] for row in values["summary"] if own(row)}
    figures = " | ".join(f"{many['all sets'][name]:.4f}" for name in COLUMNS)
    assert f"| all sets, mean of 3 angles | 7 | {figures} |" in CARD
    readme = RESULTS.parents[2].joinpath("README.md").read_text().replace("\n", " ")
    for name, words in {"dice": "Dice of those 7 photographs is", "cldice": "clDice"}.items():
        after, before = (f"{means['all sets'][name]:.4f}"[1:] for means in (many, few))
        assert f"{words} {after} in place of {before}" in readme
    assert all(many[dataset]["dice"] > few[dataset]["dice"] for dataset in few)  # "and each set is better"


def own(row: dict[str, Any]) -> bool:
    """Whether a row is of the masks that `predict` writes, in the field of view."""
    return (row["by"], row["region"], row["at"]) == ("model", "fov", "fixed")


def test_the_readme_says_the_same() -> None:
    readme = RESULTS.parents[2].joinpath("README.md").read_text().replace("\n", " ")
    for row in json.loads(RESULTS.read_text())["summary"]:
        name = row["dataset"].upper()
        if (row["region"], row["at"], row["by"]) == ("fov", "fixed", "model") and name != "ALL SETS":
            assert f"{row['mean']['dice']:.2f} on {name}"[1:] in readme


def test_the_validation_is_that_of_the_results() -> None:
    values = json.loads(RESULTS.with_name("recipe.json").read_text())
    for row in values["rows"]:
        thresholds = " to ".join(f"{value:g}" for value in row["thresholds"])
        figures = " | ".join(f"{row[name]:.4f}" for name in ("dice", "auc", "cldice"))
        trained = "all but the one" if row["protocol"] == "left out" else row["protocol"]
        assert f"| {trained} | {row['scored']} | {row['images']} | {thresholds} | {figures} |" in CARD
    steps = [part["steps"] for part in values["parts"]]
    assert f"{min(steps):,} to {max(steps):,} steps, where the weights took" in CARD.replace("\n", " ")


def test_the_card_names_what_is_there() -> None:
    weights = models.find_weights(models.SHIPPED)
    header = read_header(weights)
    assert sha256(weights) in CARD
    size = sum((models.FOLDER / name).stat().st_size for name in ("model.onnx", "model.safetensors"))
    assert f"together {size / 1e6:.1f} MB" in CARD
    assert f"threshold {header.threshold:g}" in CARD
    assert f"wider than {header.calibre:.1f} pixels" in CARD.replace("\n ", "")
    assert ",".join(map(str, header.widths)) in CARD
    for split, count in (("train", "46"), ("val", "7")):
        assert len(header.training["samples"][split]) == int(count)
        assert f"{count} photographs" in CARD
