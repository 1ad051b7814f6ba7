"""Eval: a model, or masks of any origin, to figures on whole photographs."""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

from geseg.data.patchfile import SampleRecord, WholeImage
from geseg.errors import ConfigError
from geseg.files import check_writable, refuse_to_overwrite
from geseg.progress import Track, never, silent
from geseg.steps import evalnotes, maskfolder, models, moving, pipeline
from geseg.steps.evalresult import Beside, EvalConfig, EvalResult, write_figures
from geseg.steps.maps import Maps, of_files, of_model
from geseg.steps.moving import Moved
from geseg.steps.report import page
from geseg.steps.report.plates import Album
from geseg.steps.scores import Map, Row, Scores, Tally, tally
from geseg.steps.truths import Photograph, Truths, open_truths

__all__ = ["EvalConfig", "EvalResult", "run"]


def run(config: EvalConfig, track: Track = silent) -> EvalResult:
    """Score a model or a folder of masks on the annotated photographs of a split.

    Raises:
        PatchFileError, LayoutError, ModelFileError, ImageError: a file that is not what it should be.
        DataError: the split has no labelled image, or photographs of it lack their mask.
        ConfigError: equivariance, or the mean of several angles, is asked of masks.
        OutputError: the CSV file or the report exists already, or cannot be written.
    """
    place = _place(config)
    truths = open_truths(config.truths)
    maps = _open_maps(config, truths)
    other = None if config.beside is None else models.load(config.beside, device=config.device, turns=config.turns)
    scores, records, doubts = Scores(), list[SampleRecord](), list[str]()
    album = Album(len(maps.photographs), maps.at)
    with closing(_count_all(maps, None if place is None else album)) as counted:
        for record, tallies, doubt in track(counted, f"eval on {maps.split} images", len(maps.photographs)):
            records.append(record)
            doubts.append(doubt)
            scores.add(record.dataset, record.id, tallies)
    moved, beside = _move(config, maps, other, track)
    result = EvalResult(
        model=maps.path,
        made_by=maps.made_by,
        truths=config.truths,
        split=maps.split,
        protocol=_protocol(truths, maps.photographs),
        thresholds=maps.thresholds,
        images=tuple(scores.images),
        summaries=scores.summaries(),
        moved=moved,
        beside=beside,
        notes=(
            *maps.notes,
            *evalnotes.describe_seen(maps, beside, records, truths.people),
            *evalnotes.describe_doubts(records, doubts),
            *evalnotes.describe_undefined(scores.images),
        ),
        report=place,
    )
    if config.csv is not None:
        write_figures(config.csv, result)
    if place is not None:
        page.write(place, result, scores.pooled, album)
    return result


Counted = tuple[SampleRecord, dict[Row, Tally], str]
"""A photograph, what was counted of its map, and what speaks against that, as `evalnotes.doubt` has it."""


def _count_all(maps: Maps, album: Album | None) -> Generator[Counted, None, None]:
    """Count each photograph, and put its pictures into the album, while the net works on the next ones."""

    def segment(read: tuple[Photograph, WholeImage]) -> tuple[WholeImage, Map]:
        photograph, whole = read
        return whole, maps.map_of(photograph, whole)

    def count(segmented: tuple[WholeImage, Map]) -> Counted:
        if album is not None:
            album.add(*segmented)
        doubt = evalnotes.doubt(*segmented) if maps.files else ""
        return segmented[0].record, tally(*segmented, maps.thresholds), doubt

    return pipeline.overlap(maps.photographs, lambda photograph: (photograph, photograph.read()), segment, count, never)


def _place(config: EvalConfig) -> Path | None:
    """Where the page goes; what is in its way, or in that of the table, must not be found out after an hour."""
    if config.csv is not None:
        refuse_to_overwrite(config.csv, config.overwrite, "--csv")
        check_writable(config.csv, "--csv")
    return None if config.report is None else page.place(config.report, config.overwrite)


def _open_maps(config: EvalConfig, truths: Truths) -> Maps:
    if not maskfolder.holds_masks(config.model):
        return of_model(config.model, config.device, truths, config.split, config.turns)
    for option, wanted in {"--equivariance": config.equivariance, "--turns": config.turns != 1}.items():
        if wanted:
            raise ConfigError(f"{config.model} holds masks, and {option} needs a model to run: leave it out")
    return of_files(config.model, truths, config.split)


def _move(
    config: EvalConfig, maps: Maps, other: models.Model | None, track: Track
) -> tuple[tuple[Moved, ...], Beside | None]:
    """The equivariance tables of the model and of the one beside it, if they are asked for."""
    if not config.equivariance:
        return (), None
    assert maps.model is not None, "masks cannot be moved along"
    moved = moving.run(maps.model, maps.photographs, track)
    if other is None:
        return moved, None
    return moved, Beside(other.path, other.device, moving.run(other, maps.photographs, track))


def _protocol(truths: Truths, photographs: tuple[Photograph, ...]) -> str:
    """What the figures are of, in one sentence."""
    counts: dict[str, int] = {}
    for photograph in photographs:
        counts[photograph.dataset] = counts.get(photograph.dataset, 0) + 1
    sets = [
        f"{count} {photographs[0].split} images of {name}"
        + (f" (split {truths.protocols[name]})" if name in truths.protocols else "")
        for name, count in counts.items()
    ]
    return f"{', '.join(sets)}, at their own resolution, against the first observer"
