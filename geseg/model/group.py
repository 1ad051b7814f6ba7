"""The symmetry groups of the plane that geseg knows, and how their exact elements move an image; no torch needed."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from geseg.errors import ConfigError

Image = TypeVar("Image")
ROTATIONS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Element:
    """A quarter-turn element: mirror left-right first if `mirrored`, then turn counter-clockwise `turns` times by 90°.

    These are the elements that map the pixel grid to itself, so that a network can commute with them exactly.
    """

    turns: int
    mirrored: bool

    def __call__(self, image: Image) -> Image:
        """Move an image, a numpy array or a torch tensor whose last two axes are height and width."""
        moved: Any = image
        if isinstance(moved, np.ndarray):
            moved = np.flip(moved, -1) if self.mirrored else moved
            turned: Any = np.rot90(moved, self.turns, (-2, -1))
        else:
            moved = moved.flip(-1) if self.mirrored else moved
            turned = moved.rot90(self.turns, (-2, -1))
        result: Image = turned
        return result


@dataclass(frozen=True, slots=True)
class Group:
    """A cyclic group cN of N rotations or a dihedral group dN of N rotations and N reflections, N in 1, 2, 4, 8.

    Example:
        >>> Group.parse("d4").order
        8
        >>> len(Group.parse("c8").exact_elements)
        4
    """

    rotations: int
    reflections: bool

    @classmethod
    def parse(cls, name: str) -> "Group":
        """Read a name such as "d4".

        Raises:
            ConfigError: `name` is not one of c1, c2, c4, c8, d1, d2, d4, d8.
        """
        match = re.fullmatch(r"([cd])([1248])", name.strip().lower())
        if match is None:
            known = ", ".join(f"{kind}{n}" for kind in "cd" for n in ROTATIONS)
            raise ConfigError(f"group {name!r} is not known; choose one of {known} (c1 is a plain U-Net)")
        return cls(rotations=int(match[2]), reflections=match[1] == "d")

    @property
    def name(self) -> str:
        """The name that `parse` reads."""
        return f"{'d' if self.reflections else 'c'}{self.rotations}"

    @property
    def order(self) -> int:
        """|G|: the channels of one regular field."""
        return self.rotations * (2 if self.reflections else 1)

    @property
    def is_plain(self) -> bool:
        """True for c1: an ordinary net, without any symmetry."""
        return self.order == 1

    @property
    def exact_elements(self) -> tuple[Element, ...]:
        """The elements that map the pixel grid to itself; c8 and d8 have the same ones as c4 and d4."""
        step = 4 // min(self.rotations, 4)
        mirrors = (False, True) if self.reflections else (False,)
        return tuple(Element(turns, mirrored) for mirrored in mirrors for turns in range(0, 4, step))


SYMMETRIES: tuple[Element, ...] = Group(rotations=4, reflections=True).exact_elements
"""All eight quarter turns and mirrors, of whatever group."""
