"""What messages call things."""

from geseg.data.patchfile import SampleRecord


def named(record: SampleRecord) -> str:
    """What messages call a photograph."""
    return f"{record.dataset}/{record.id}"


def many(count: int, thing: str, ending: str = "s") -> str:
    """A number of things, in words."""
    return f"{count:,} {thing}{'' if count == 1 else ending}" if count else f"no {thing}{ending}"
