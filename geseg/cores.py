"""How many cores there are to work on."""

import os


def count_cores() -> int:
    """Cores that this process may use: a scheduler or a container may have given it fewer than the machine has."""
    if not hasattr(os, "sched_getaffinity"):  # as on macOS and Windows
        return os.cpu_count() or 1
    return len(os.sched_getaffinity(0))
