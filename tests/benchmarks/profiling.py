"""Where the time of a training step goes: python -m tests.benchmarks.profiling d4 bf16 [--side 256 --size 4].

Each operation that torch records counts with the time that it spends itself, in the first of `GROUPS` whose pattern
fits its name or that of what called it, innermost first. What is left of a step is Python's share.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from geseg.model.steerable import SteerableConv2d
from geseg.steps.learner import Learner
from tests.benchmarks import training

STEP, REST = "step", "other"
GROUPS = (
    ("optimiser", r"optimizer\.(step|zero_grad)|accumulategrad"),
    ("averaged weights", r"^average$"),
    ("change of type", r"tocopybackward|aten::to$"),
    ("change of layout", r"aten::(contiguous|clone)$|clonebackward"),
    ("convolution, backward", r"convolutionbackward|convolution_backward|_ConvolveBackward"),
    ("convolution", r"aten::(conv2d|convolution)$|_Convolve$"),
    ("kernel expansion", r"^kernel$|mmbackward"),
    ("norm, backward", r"norm.*backward"),
    ("norm", r"norm"),
    ("ReLU", r"relu|threshold"),
    ("pooling", r"max_?pool|^_Pool"),
    ("upsampling", r"upsample"),
    ("skips, as copies or sums", r"aten::cat$|catbackward|aten::add$"),
    ("loss", r"^loss$|(entropy|sigmoid|sum|mul|div|sub|add|clamp\w*)backward|aten::item"),
    ("Python, and waiting", f"^{STEP}$"),
)


def group_of(names: Iterable[str]) -> str:
    """The group of an operation from its name and those of its callers, innermost first."""
    for name in names:
        for group, pattern in GROUPS:
            if re.search(pattern, name, re.IGNORECASE):
                return group
    return REST


def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, under a name of its own in the record."""

    def recorded(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the function takes and gives
        with record_function(name):
            return function(*args, **options)

    return recorded


def profile_steps(learner: Learner, batch: training.Batch, steps: int) -> dict[str, float]:
    """Milliseconds per step of each group, after two steps to warm up; recording adds to the small operations."""
    for _ in range(2):
        learner.step(*batch, done=0.5)
    spent: dict[str, float] = defaultdict(float)
    learner.loss, learner._average = named("loss", learner.loss), named("average", learner._average)  # type: ignore[method-assign]
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(steps):
            named(STEP, learner.step)(*batch, done=0.5)
    for event in record.events():
        names, caller = [event.name], event.cpu_parent
        while caller is not None:
            names.append(caller.name)
            caller = caller.cpu_parent
        if names[-1] == STEP:
            spent[group_of(names)] += event.self_cpu_time_total / 1e3 / steps
    return dict(spent)


def table(columns: dict[str, dict[str, float]]) -> str:
    """Milliseconds and shares of the groups, the largest first, in Markdown."""
    first = next(iter(columns.values()))
    lines = ["| ms per step | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
    for group in sorted(set().union(*columns.values()), key=lambda name: -first.get(name, 0)):
        cells = [f"{c.get(group, 0):.1f} ({c.get(group, 0) / sum(c.values()):.0%})" for c in columns.values()]
        lines.append(f"| {group} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Profile a net in both memory layouts."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.profiling", description=__doc__)
    parser.add_argument("net", help="c4, d4, d8, ...; plain and e2cnn stand for those beside d4")
    parser.add_argument("precision", choices=("bf16", "fp32"))
    parser.add_argument("--widths", help="such as 4,7,12,20")
    for name, default in (("size", 8), ("side", 128), ("steps", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    SteerableConv2d.kernel = named("kernel", SteerableConv2d.kernel)  # type: ignore[method-assign]
    group, contender = ("d4", args.net) if args.net in ("plain", "e2cnn") else (args.net, "geseg")
    widths = [int(w) for w in args.widths.split(",")] if args.widths else training.default_widths(group)
    batch, columns = training.held_batch(args.size, args.side), {}
    for name, layout in training.LAYOUTS.items():
        torch.manual_seed(0)
        learner = training.learner_of(training.nets(group, widths)[contender](), args.precision)
        training.set_layout(learner.net, layout)
        columns[name] = profile_steps(learner, batch, args.steps)
    print(f"{args.net} {args.precision}, {tuple(widths)}, {args.size}x{args.side}x{args.side}")  # noqa: T201
    print(f"{torch.get_num_threads()} threads\n\n{table(columns)}")  # noqa: T201


if __name__ == "__main__":
    main()
