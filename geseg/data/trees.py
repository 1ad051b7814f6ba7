"""Vessel trees of a drawn retina: how they grow, and which pixels they cover.

The eye lives in the unit disc: complex numbers x + iy with y downwards, |z| <= 1 being the camera's
field of view. So the same seed gives the same eye at any image size.
"""

import heapq
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Rng = np.random.Generator
STEP = 0.011
THINNEST = 0.0039
"""Width at which a vessel ends: one pixel where DRIVE has 540 pixels across the field of view."""
CELL = 0.02
"""Side of a cell of the map that keeps vessels apart."""


@dataclass(frozen=True, slots=True)
class Eye:
    """Where the landmarks are, in the unit disc; `side` is -1 with the optic disc on the left, +1 on the right."""

    disc: complex
    disc_radius: float
    fovea: complex
    side: int


@dataclass(frozen=True, slots=True)
class Vessel:
    """A curve as points (x, y) with the width of the vessel at each, in one unit of length."""

    points: Float[np.ndarray, "n 2"]
    widths: Float[np.ndarray, " n"]
    artery: bool


@dataclass(frozen=True, slots=True)
class Tip:
    """A vessel about to grow: from `start` towards `heading` (radians); `role` names the field that it follows."""

    start: complex
    heading: float
    width: float
    artery: bool
    role: str
    parent: int = 0


@dataclass(frozen=True, slots=True)
class Raster:
    """Vessels on a pixel grid, seen at each pixel from the vessel in which the pixel lies deepest.

    `depth` is the half width minus the distance from the pixel's centre to the centre line, in pixels: the pixel
    belongs to a vessel iff it is not negative. Far from all vessels it is -inf and `width` is 0.
    """

    depth: Float[np.ndarray, "h w"]
    width: Float[np.ndarray, "h w"]


def random_eye(rng: Rng) -> Eye:
    """A left or right eye; most are centred between optic disc and fovea, some on the optic disc, as in DRIVE."""
    side = -1 if rng.random() < 0.5 else 1
    x = rng.uniform(-0.45, -0.1) if rng.random() < 0.12 else rng.uniform(-0.84, -0.66)
    disc = complex(x, rng.uniform(-0.12, 0.08))
    fovea = disc + complex(rng.uniform(0.74, 0.84), rng.uniform(0.04, 0.14))
    return Eye(mirror(disc, side), rng.uniform(0.13, 0.17), mirror(fovea, side), side)


def mirror(z: complex, side: int) -> complex:
    """Turn a left-handed place into one of an eye of that side."""
    return z if side < 0 else complex(-z.real, z.imag)


def grow(eye: Eye, rng: Rng) -> list[Vessel]:
    """Grow arteries and veins out of the optic disc, the widest first, until all have become too thin.

    At a branching the widths follow Murray's law, w0³ = w1³ + w2³ (Murray 1926, doi:10.1073/pnas.12.3.207).
    """
    return _Growth(Eye(mirror(eye.disc, eye.side), eye.disc_radius, mirror(eye.fovea, eye.side), -1), rng).run(eye.side)


class _Growth:
    """The state of one growing retina, always with the optic disc on the left; `run` mirrors the result."""

    def __init__(self, eye: Eye, rng: Rng) -> None:
        self.eye, self.rng = eye, rng
        cells = round(2.4 / CELL)
        self.owner = np.zeros((2, cells, cells), np.int32)  # which vessel runs through a cell, for veins and arteries
        self.bend = {(artery, sign): rng.uniform(1.9, 3.1) for artery in (False, True) for sign in (-1, 1)}
        self.density = rng.uniform(0.85, 1.15)
        self.tortuosity = rng.uniform(0.7, 1.4)

    def run(self, side: int) -> list[Vessel]:
        queue = [(-tip.width, number, tip) for number, tip in enumerate(self.trunks())]
        heapq.heapify(queue)
        pushed = len(queue)
        vessels: list[Vessel] = []
        while queue:
            tip = heapq.heappop(queue)[2]
            line, widths, children = self.follow(tip, len(vessels) + 1)
            for child in children:
                pushed += 1  # settles ties, so that tips are never compared
                heapq.heappush(queue, (-child.width, pushed, child))
            z = np.array(line)
            vessels.append(Vessel(np.stack([z.real * -side, z.imag], axis=1), np.array(widths), tip.artery))
        return vessels

    def trunks(self) -> list[Tip]:
        """What leaves the optic disc: four arcades to the temporal side, smaller ones to the nose and the macula."""
        tips = []
        for artery in (False, True):
            full = (0.0255 if artery else 0.0305) * self.rng.uniform(0.88, 1.08)
            hilum = self.eye.disc + self.eye.disc_radius * complex(
                self.rng.uniform(-0.35, 0), self.rng.uniform(-0.2, 0.2)
            )
            for sign in (-1, 1):
                heading = sign * self.rng.uniform(1.4, 2.0)
                tips.append(Tip(hilum, heading, full * self.rng.uniform(0.85, 1.1), artery, "arcade"))
                heading = sign * self.rng.uniform(1.9, 2.7)
                tips.append(Tip(hilum, heading, full * self.rng.uniform(0.45, 0.75), artery, "outer"))
            for role, centre in (("inner", 0.0), ("inner", 0.0), ("outer", math.pi)):
                heading = centre + self.rng.uniform(-0.8, 0.8)
                tips.append(Tip(hilum, heading, full * self.rng.uniform(0.2, 0.36), artery, role))
        return tips

    def follow(self, tip: Tip, name: int) -> tuple[list[complex], list[float], list[Tip]]:
        """Grow one vessel to its end; side branches are returned as tips."""
        z, heading, width = tip.start, tip.heading, tip.width
        line, widths, children = [z], [width], list[Tip]()
        drift, length, turn = 0.0, 0.0, int(self.rng.choice((-1, 1)))
        branch_at = self.gap(width) + (self.eye.disc_radius if tip.parent == 0 else 0.03)
        while width > THINNEST and abs(z) < 1.04:
            wish = self.wish(z, tip, width)
            thin = min(1.0, 0.007 / width)
            drift += -0.3 * drift + self.tortuosity * (1.7 + 2.8 * thin) * self.rng.standard_normal()
            pull = 6.0 if tip.role == "arcade" else 3.0
            heading += STEP * (drift + pull * math.sin(np.angle(wish) - heading))
            free = self.steer(z, heading, tip, name, width, length)
            if free is None:
                break
            heading = free
            z += STEP * complex(math.cos(heading), math.sin(heading))
            length += STEP
            width *= 1 - STEP * (0.09 + 1.1 * thin**3)
            line.append(z)
            widths.append(width)
            if length > branch_at:
                turn = -turn if self.rng.random() < 0.75 else turn
                ratio = self.ratio(width)
                main = width * (1 + ratio**3) ** (-1 / 3)
                if main * ratio > THINNEST:
                    children.append(self.branch(z, heading, main * ratio, turn, tip, name))
                    width, heading = main, heading - turn * 0.35 * ratio**2
                branch_at = length + self.gap(width)
        self.claim(line, tip.artery, name)
        return line, widths, children

    def gap(self, width: float) -> float:
        """Length to the next branching."""
        return float(0.04 + self.rng.exponential(0.085)) / self.density

    def ratio(self, width: float) -> float:
        """Width of a side branch over that of its parent: wide vessels bear twigs as often as equals."""
        if width > 0.012 and self.rng.random() < 0.6:
            return float(self.rng.uniform(0.22, 0.5))
        return float(self.rng.uniform(0.45, 0.85))

    def branch(self, z: complex, heading: float, width: float, turn: int, tip: Tip, name: int) -> Tip:
        """A side branch; those of an arcade go to the macula or to the rim, as the side has it."""
        role = tip.role
        start = heading + turn * self.rng.uniform(0.7, 1.2)
        if role == "arcade":
            inwards = (np.exp(1j * start) * np.conj(self.eye.fovea - z)).real > 0
            role = "inner" if inwards else "outer"
        return Tip(z, start, width, tip.artery, role, name)

    def wish(self, z: complex, tip: Tip, width: float) -> complex:
        """The direction that a vessel of this role would like to take at `z`."""
        from_disc, to_fovea = z - self.eye.disc, self.eye.fovea - z
        if tip.role == "arcade":  # a parabola x = bend y² that opens to the temporal side
            sign = -1 if tip.heading < 0 else 1
            bend, y = self.bend[tip.artery, sign], abs(from_disc.imag)
            return complex(2 * bend * y - 3.0 * (from_disc.real - bend * y * y), sign)
        if tip.role == "inner":
            near = abs(to_fovea)
            away = near < 0.12 + 14 * width  # the wider, the farther they stay away
            return (
                to_fovea / (near + 1e-9) * (-1.2 if away else min(1.0, 2 * near)) + 0.6
            )  # sweeping to the temporal side
        return from_disc / (abs(from_disc) + 1e-9) - 0.5 * to_fovea / (abs(to_fovea) + 1e-9)

    def steer(self, z: complex, heading: float, tip: Tip, name: int, width: float, length: float) -> float | None:
        """The heading nearest to `heading` that runs into no other vessel; None where the vessel has to end."""
        if abs(z - self.eye.fovea) < 0.08:  # the centre of the fovea has no vessels
            return None
        if tip.role == "arcade" or length < 0.06 or abs(z - self.eye.disc) < 1.3 * self.eye.disc_radius:
            return heading
        kinds = (0, 1) if tip.width < 0.0075 else (int(tip.artery),)  # twigs cross nothing, larger ones the other kind
        for turn in (0.0, 0.5, -0.5):
            ahead = z + 3 * CELL * complex(math.cos(heading + turn), math.sin(heading + turn))
            cell = (int((ahead.imag + 1.2) / CELL), int((ahead.real + 1.2) / CELL))
            if all(self.owner[kind][cell] in (0, name) for kind in kinds):
                return heading + 0.5 * turn
        return heading if width > 0.008 else None  # a wide vessel does not end, it crosses

    def claim(self, line: list[complex], artery: bool, name: int) -> None:
        cells = ((np.array(line) + 1.2 + 1.2j) / CELL).view(float).astype(int).reshape(-1, 2)
        self.owner[int(artery), cells[:, 1], cells[:, 0]] = name


def rasterise(vessels: list[Vessel], height: int, width: int, margin: float = 2.0) -> Raster:
    """Find the pixels of vessels, whose points and widths are in pixels; pixel (row, column) has centre (column, row).

    The distance to a centre line is that to its straight pieces, along which the width changes linearly: nothing is
    sampled, so `depth >= 0` is the exact mask. Distances beyond the edge are found up to `margin` pixels.
    """
    depth = np.full(height * width, -np.inf)
    across = np.zeros(height * width)
    for vessel in vessels:
        pixel, deep, wide = _pieces(vessel, height, width, margin)
        order = np.argsort(
            deep, kind="stable"
        )  # of several values for one pixel, assignment keeps the last: the deepest
        pixel, deep, wide = pixel[order], deep[order], wide[order]
        better = deep > depth[pixel]
        depth[pixel[better]] = deep[better]
        across[pixel[better]] = wide[better]
    return Raster(depth.reshape(height, width), across.reshape(height, width))


def _pieces(
    vessel: Vessel, height: int, width: int, margin: float
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Index, depth and local width for every pixel near every straight piece of a vessel."""
    start, way = vessel.points[:-1], np.diff(vessel.points, axis=0)
    reach = np.abs(way).max(initial=0.0) / 2 + vessel.widths.max() / 2 + margin
    middle = np.rint(start + way / 2).astype(int)
    offset = np.arange(-math.ceil(reach), math.ceil(reach) + 1)
    x = middle[:, 0, None, None] + offset
    y = middle[:, 1, None, None] + offset[:, None]
    dx, dy = x - start[:, 0, None, None], y - start[:, 1, None, None]
    wx, wy = way[:, 0, None, None], way[:, 1, None, None]
    share = np.clip((dx * wx + dy * wy) / np.maximum(wx * wx + wy * wy, 1e-12), 0, 1)
    distance = np.hypot(dx - share * wx, dy - share * wy)
    wide = vessel.widths[:-1, None, None] + share * np.diff(vessel.widths)[:, None, None]
    deep = wide / 2 - distance
    near = (deep > -margin) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return (y * width + x)[near], deep[near], wide[near]
