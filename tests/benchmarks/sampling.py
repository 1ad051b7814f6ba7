"""Where the time of a predict run goes: python -m tests.benchmarks.sampling IMAGES.

A thread looks every few milliseconds at what every other one is doing, and counts it for the innermost function of
geseg; so that it shows which stages overlap, the shares of all threads together may exceed 100 %.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

EVERY = 0.004
"""Seconds between two looks."""
WAITING = {"wait", "get", "put", "acquire", "join", "result", "_wait_for_tstate_lock", "select", "poll"}
"""Functions of the standard library in which a thread does nothing."""


def sample(work: Callable[[], object]) -> tuple[Counter[str], float]:
    """Seconds per function of geseg and per thread while `work` runs in this one, and how long it ran."""
    seen: Counter[str] = Counter()
    done = threading.Event()

    def look() -> None:
        own, before = threading.get_ident(), time.perf_counter()
        while not done.wait(EVERY):
            now = time.perf_counter()
            names = {thread.ident: thread.name for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != own and (doing := _doing(frame)):
                    seen[f"{doing} [{names.get(ident, '?')}]"] += now - before  # type: ignore[assignment]
            before = now

    watcher = threading.Thread(target=look)
    start = time.perf_counter()
    watcher.start()
    try:
        work()
    finally:
        seconds = time.perf_counter() - start
        done.set()
        watcher.join()
    return seen, seconds


def _doing(frame: FrameType | None) -> str:
    """The innermost function of geseg of a thread, or "waiting"; "" if the thread is none of geseg's."""
    waiting = frame is not None and frame.f_code.co_name in WAITING and "/threading.py" in frame.f_code.co_filename
    while frame is not None:
        parts = Path(frame.f_code.co_filename).with_suffix("").parts
        if "geseg" in parts and "site-packages" not in parts:
            module = ".".join(parts[len(parts) - parts[::-1].index("geseg") :])
            return "waiting" if waiting else f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return ""


def main() -> None:
    """Sample a run on a folder with the model open, and print what took more than 0.5 % of it."""
    import functools

    from geseg.steps import predict
    from tests.benchmarks import predicting

    predict.load = functools.cache(predict.load)
    predicting.run(sys.argv[1])
    seen, seconds = sample(lambda: predicting.run(sys.argv[1]))
    print(f"{seconds:.2f} s\n\n| Function [thread] | s | share |\n| --- | --- | --- |")  # noqa: T201
    for name, spent in seen.most_common():
        if spent > 0.005 * seconds:
            print(f"| `{name}` | {spent:.2f} | {spent / seconds:.1%} |")  # noqa: T201


if __name__ == "__main__":
    main()
