"""What `prepare` remarks on: data that can be used, but is seldom meant to be as it is."""

from collections.abc import Iterable, Iterator, Sequence

from geseg.data import images, samplescsv
from geseg.data.patchfile import PatchHeader, SampleRecord, TrainPatches, WholeImage
from geseg.data.samples import Sample, Source
from geseg.steps.phrases import many, named

Packed = TrainPatches | WholeImage


def noting(empty: list[SampleRecord], stream: Iterable[Packed]) -> Iterator[Packed]:
    """Yield a stream unchanged; `empty` gets what has a label that marks nothing, or nothing in any of its patches."""
    for packed in stream:
        label = packed.patches[:, :, :, 3] if isinstance(packed, TrainPatches) else packed.label
        if label is not None and label.size and not label.any():
            empty.append(packed.record)
        yield packed


def describe_unused(sources: Sequence[Source]) -> tuple[str, ...]:
    """A line on the files of each folder that belong to no photograph."""
    return tuple(
        f"{source.root}: {many(len(source.unused), 'file')} left out, first {source.unused[0]}; expected only "
        "photographs, and labels and fields of view of the same names: rename what should count"
        for source in sources
        if source.unused
    )


def describe_empty(empty: Sequence[SampleRecord]) -> tuple[str, ...]:
    """A line on labels that mark nothing."""
    if not empty:
        return ()
    these = f"the label of {named(empty[0])} shows"
    if len(empty) > 1:
        these = f"{len(empty)} labels, first that of {named(empty[0])}, show"
    return (f"{these} no vessel; expected white on black: is it the right file?",)


def describe_copies(header: PatchHeader) -> tuple[str, ...]:
    """A line on photographs to validate or test on that are training photographs, too, under another name."""
    trained = {record.image_sha256: record for record in header.samples if record.split == "train"}
    copies = [record for record in header.samples if record.split != "train" and record.image_sha256 in trained]
    if not copies or header.orientation_shift:  # which shows other patches of a photograph
        return ()
    first = f"{named(copies[0])} as {named(trained[copies[0].image_sha256])}"
    return (f"{many(len(copies), 'val or test image')} trained on as well, first {first}: give each photograph once",)


def describe_people(sources: Sequence[Source], samples: Sequence[Sample]) -> tuple[str, ...]:
    """A line on people of one name in several lists, who count as different ones, and train here and validate there."""
    listed = {source.dataset for source in sources if source.layout == samplescsv.NAME}
    people: dict[str, set[tuple[str, str]]] = {}
    for sample in samples:
        if sample.dataset in listed and images.split_suffix(sample.person)[0] != sample.id:  # else nobody knows whom
            people.setdefault(sample.person, set()).add((sample.dataset, sample.split))
    torn = [who for who, places in people.items() if all(len({at[i] for at in places}) > 1 for i in (0, 1))]
    if not torn:
        return ()
    where = " and ".join(f"{split} of {dataset}" for dataset, split in sorted(people[torn[0]]))
    these = f"{torn[0]} is" if len(torn) == 1 else f"{len(torn)} people, first {torn[0]}, are"
    return (f"{these} in {where}, as somebody else in each list; expected one list of all if they are the same",)
