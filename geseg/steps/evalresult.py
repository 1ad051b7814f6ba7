"""What eval is asked for, and what it finds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geseg import headers
from geseg.data.samples import Split
from geseg.errors import ConfigError
from geseg.files import write_csv
from geseg.steps.moving import Moved
from geseg.steps.scores import ImageScore, Row, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """What to score, against what, and where to put the figures of each image."""

    model: Path
    """A model, or a folder of masks or probability maps."""
    truths: Path = Path("patches.h5")
    """A patch file, or the folder of a data set."""
    split: Split | None = None
    """None: test if it has labels, else val, else train."""
    equivariance: bool = False
    """Also move every photograph, and compare the moved maps."""
    beside: Path | None = None
    """Another model, to be moved as well."""
    turns: int = 1
    """Angles that every map is the mean of, as `models.load` has them."""
    csv: Path | None = None
    report: Path | None = None
    """Folder for a page to look at."""
    device: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.beside is not None and not self.equivariance:
            raise ConfigError(
                f"--beside {self.beside} is for the equivariance table only, which was not asked for: "
                "add --equivariance, or leave it out"
            )


@dataclass(frozen=True, slots=True)
class Beside:
    """The other model of an equivariance table."""

    model: Path
    made_by: str
    moved: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class EvalResult:
    """Figures per image and over images, with the protocol that they follow."""

    model: Path
    made_by: str
    """What ran the model, or "files"."""
    truths: Path
    split: Split
    protocol: str
    thresholds: dict[str, float]
    """"0.5", and for a model "fixed": the one in its file, chosen on its validation images."""
    images: tuple[ImageScore, ...]
    summaries: dict[str, dict[Row, Summary]]
    """Per data set, and of "all sets" if there are several."""
    moved: tuple[Moved, ...]
    beside: Beside | None
    notes: tuple[str, ...]
    report: Path | None = None
    """The page, if one was asked for."""

    @property
    def at(self) -> str:
        """The name of the threshold that masks are made with: the model's own if it has one."""
        return "fixed" if "fixed" in self.thresholds else "0.5"

    def repeats(self, at: str) -> bool:
        """Whether the threshold of that name is that of the masks under another one: the model's own may be 0.5."""
        return at != self.at and self.thresholds.get(at) == self.thresholds[self.at]

    def how_few(self, dataset: str, row: Row) -> str:
        """In brackets, how many images of a data set a row is of; "" if it is of all."""
        images = self.summaries[dataset][row].images
        every = self.summaries[dataset][Row("model", row.region, self.at)].images
        return "" if images == every else f" ({images} images)"

    def as_json(self) -> dict[str, Any]:
        """All figures as plain values, one flat record per image or data set and row; an undefined one is None."""
        values: dict[str, Any] = {
            "model": str(self.model),
            "made_by": self.made_by,
            "truths": str(self.truths),
            "split": self.split,
            "protocol": self.protocol,
            "notes": list(self.notes),
            "summary": [
                {"dataset": dataset, **self._record(row), "images": s.images, "mean": s.mean, "std": s.std}
                | {"pooled": s.pooled}
                for dataset, rows in self.summaries.items()
                for row, s in rows.items()
            ],
            "images": self.records(),
            "equivariance": [moved.as_dict() for moved in self.moved],
        }
        if self.beside is not None:
            moved = [moved.as_dict() for moved in self.beside.moved]
            values["beside"] = {
                "model": str(self.beside.model),
                "made_by": self.beside.made_by,
                "equivariance": moved,
            }
        plain: dict[str, Any] = headers.plain(values)
        return plain

    def records(self) -> list[dict[str, Any]]:
        """One flat record per image and row."""
        return [
            {"dataset": image.dataset, "id": image.id, **self._record(row), **figures}
            for image in self.images
            for row, figures in image.rows.items()
        ]

    def _record(self, row: Row) -> dict[str, Any]:
        return {"by": row.by, "region": row.region, "at": row.at, "threshold": self.thresholds.get(row.at)}


def write_figures(path: Path, result: EvalResult) -> None:
    """One line per image and row of figures, as `files.write_csv`."""
    records = result.records()
    rows = ({name: _cell(name, value) for name, value in record.items()} for record in records)
    write_csv(path, list(records[0]), rows, "--csv")


def _cell(name: str, value: object) -> object:
    return f"{value:.6f}" if isinstance(value, float) and name != "threshold" else value
