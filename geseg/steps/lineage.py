"""Where the weights of a run come from, as their file tells it: nothing but what decides them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from geseg.data.normalise import NORMALISATION
from geseg.data.patchfile import SampleRecord
from geseg.data.scale import Diameters
from geseg.files import sha256
from geseg.model import modelfile
from geseg.model.modelheader import ModelHeader
from geseg.steps.models import find_weights
from geseg.steps.seen import person_key
from geseg.steps.trainconfig import TrainConfig


@dataclass(frozen=True, slots=True)
class Lineage:
    """What decides a run.

    Attributes:
        records: all samples of the patch file.
        learned: indices of those whose patches are learned from.
        parents: SHA-256 of the files that it is made from: "patches", and "start" if it goes on from a model.
        start: the header of that model.
    """

    config: TrainConfig
    records: tuple[SampleRecord, ...]
    learned: frozenset[int]
    parents: dict[str, str]
    start: ModelHeader | None

    @classmethod
    def of(
        cls, config: TrainConfig, records: tuple[SampleRecord, ...], learned: Iterable[int], start: ModelHeader | None
    ) -> "Lineage":
        """Look at the files."""
        parents = {"patches": sha256(config.patches)}
        if config.start is not None:
            parents["start"] = sha256(find_weights(config.start))
        return cls(config, records, frozenset(map(int, learned)), parents, start)

    @property
    def identity(self) -> str:
        """A text that is the same for the same run, wherever its files are."""
        return json.dumps(self.config.as_dict() | self.parents)

    @property
    def diameters(self) -> Diameters | None:
        """Of the fields of view that the net has learned from; None if none of its photographs shows where it ends."""
        known = [self.records[i].diameter for i in self.learned]
        known += (self.start.diameters or ()) if self.start else ()
        found = [diameter for diameter in known if diameter is not None]
        return (min(found), max(found)) if found else None

    def header(
        self, widths: tuple[int, ...], threshold: float | None, calibre: float | None, metrics: dict[str, float]
    ) -> ModelHeader:
        """Of the file of the weights.

        Without a threshold of its own it has that of the model it started from; of both calibres it has the wider.
        """
        calibres = [c for c in (calibre, self.start.calibre if self.start else None) if c is not None]
        if threshold is None:
            threshold = self.start.threshold if self.start else 0.5
        return ModelHeader(
            group=self.config.group,
            widths=widths,
            normalisation=NORMALISATION,
            threshold=threshold,
            diameters=self.diameters,
            calibre=max(calibres, default=None),
            training=self._training(),
            metrics=metrics,
            versions=modelfile.versions(),
        )

    def _training(self) -> dict[str, object]:
        """Configuration, parents by hash, and every photograph that the weights have seen."""
        splits = {
            "train": sorted(self.learned),
            "val": [i for i, record in enumerate(self.records) if record.split == "val"],
        }
        samples = {
            split: {f"{self.records[i].dataset}/{self.records[i].id}": self.records[i].image_sha256 for i in members}
            for split, members in splits.items()
        }
        people = {
            split: {f"{r.dataset}/{r.id}": person_key(r.dataset, r.person) for r in (self.records[i] for i in members)}
            for split, members in splits.items()
        }
        if self.start is not None:
            before, known = (self.start.training.get(name, {}) for name in ("samples", "people"))
            samples = {split: before.get(split, {}) | own for split, own in samples.items()}
            people = {split: known.get(split, {}) | own for split, own in people.items()}
        config = {name: value for name, value in self.config.as_dict().items() if name not in self.parents}
        digests = {f"{name}_sha256": digest for name, digest in self.parents.items()}
        return {"config": config, **digests, "samples": samples, "people": people}
