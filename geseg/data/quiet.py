"""Reading without remarks."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def no_warnings() -> Iterator[None]:
    """Silence Python's warnings for a block: remarks on metadata that does not matter to who segments images.

    One thread at a time: the filters are global, and two that put back what they found would leave those of the other.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
