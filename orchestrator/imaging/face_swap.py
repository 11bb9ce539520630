"""One face in the place of another: warped to its points, in its light, within its outline.

Pictures are uint8 (H, W, 3) RGB; points are float64 (468, 2), x and y of the face mesh in a picture's pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.arrays import Floats, Pixels
from orchestrator.imaging.boxes import Box
from orchestrator.imaging.faces import OVAL

Points = npt.NDArray[np.float64]

GRID = 48
"""Places along each side at which the warp is computed; between them it is smooth."""
STIFFNESS = 1e-3
"""Of the thin plate, in sides of the face: points of the mesh that contradict each other do not fold it."""
FEATHER = 0.2
"""How far the new face fades in from its outline, in radii of the outline."""
MOST_CONTRAST = 1.5
"""By which the new face's contrast is changed at most, to be that of the old one."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """A picture with the new face, uint8 (H, W, 3), and float32 (H, W) in [0, 1], above 0 where it is new."""

    picture: Pixels
    mask: Floats


def swap(picture: Pixels, points: Points, donor: Pixels, donor_points: Points) -> Swapped:
    """The face of `donor` in the place of the one in `picture`; what is outside its outline stays, bit for bit."""
    mask = _mask(picture.shape[1::-1], points)
    box = _box(mask)
    part = picture[box.rows, box.columns].astype(np.float32)
    weight = mask[box.rows, box.columns, None]
    new = _in_light_of(_warped(donor, points, donor_points, box).astype(np.float32), part, weight[..., 0])
    result = picture.copy()
    result[box.rows, box.columns] = np.rint(np.clip(part + weight * (new - part), 0, 255))
    return Swapped(result, mask)


def _mask(size: tuple[int, ...], points: Points) -> Floats:
    """1 inside the outline of the face, falling to 0 towards it; exactly 0 outside."""
    outline = points[list(OVAL)]
    inside = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillPoly(inside, [np.rint(outline * 16).astype(np.int32)], [1], shift=4)
    if not inside.any():  # a face beyond the picture's border
        return inside.astype(np.float32)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(depth / max(1.0, FEATHER * float(depth.max())), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _box(mask: Floats) -> Box:
    """Around everything above 0, at least one pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Box(0, 0, 1, 1)
    top, left = int(rows[0]), int(columns[0])
    return Box(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)


def _warped(donor: Pixels, points: Points, donor_points: Points, box: Box) -> Pixels:
    """The donor's pixels of a box of the picture, by the thin-plate spline (Bookstein 1989) that moves its points."""
    donor, donor_points = _shrunk(donor, donor_points, float(np.ptp(donor_points) / max(1.0, np.ptp(points))))
    x = np.linspace(box.left, box.left + box.width - 1, GRID)
    y = np.linspace(box.top, box.top + box.height - 1, GRID)
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    middle, scale = points.mean(axis=0), float(np.ptp(points)) or 1.0
    moved = _spline((points - middle) / scale, donor_points, (places - middle) / scale)
    coarse = moved.reshape(GRID, GRID, 2).astype(np.float32)
    # Places of the coarse grid are corners, not middles of cells: so remap rather than resize, which would shift.
    columns = np.broadcast_to(np.linspace(0, GRID - 1, box.width, dtype=np.float32), (box.height, box.width))
    rows = np.broadcast_to(np.linspace(0, GRID - 1, box.height, dtype=np.float32)[:, None], (box.height, box.width))
    where = cv2.remap(coarse, np.ascontiguousarray(columns), np.ascontiguousarray(rows), cv2.INTER_LINEAR)
    return np.asarray(
        cv2.remap(donor, where, np.empty(0, np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _shrunk(donor: Pixels, points: Points, times: float) -> tuple[Pixels, Points]:
    """A donor that is much larger than its place, at about its size: remap would skip pixels."""
    steps = int(times)
    if steps < 2:
        return donor, points
    height, width = (max(1, side // steps) for side in donor.shape[:2])
    small = np.asarray(cv2.resize(donor, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return small, points * np.array([width / donor.shape[1], height / donor.shape[0]])


def _spline(points: Points, values: Points, places: Points) -> Points:
    """Thin-plate spline through `values` (n, 2) at `points` (n, 2), evaluated at `places` (m, 2)."""
    count = len(points)
    affine = np.concatenate([np.ones((count, 1)), points], axis=1)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(points, points) + STIFFNESS * np.eye(count)
    system[:count, count:], system[count:, :count] = affine, affine.T
    weights = np.linalg.lstsq(system, np.concatenate([values, np.zeros((3, 2))]), rcond=None)[0]
    ones = np.ones((len(places), 1))
    return np.asarray(np.concatenate([_kernel(places, points), ones, places], axis=1) @ weights)


def _kernel(one: Points, other: Points) -> Points:
    square = ((one[:, None] - other[None]) ** 2).sum(axis=-1)
    return np.asarray(square * np.log(np.maximum(square, 1e-12)) / 2)


def _in_light_of(new: Floats, old: Floats, weight: Floats) -> Floats:
    """The new face with the mean and the contrast of the old one in L*a*b* (Reinhard et al. 2001)."""
    if weight.sum() < 1:
        return new
    ours, theirs = (cv2.cvtColor(each / 255, cv2.COLOR_RGB2LAB) for each in (new, old))
    share = (weight / weight.sum())[..., None]
    for lab in (ours,):
        mean, wanted = (np.sum(share * each, axis=(0, 1)) for each in (lab, theirs))
        spread, aim = (
            np.sqrt(np.sum(share * (each - middle) ** 2, axis=(0, 1)))
            for each, middle in ((lab, mean), (theirs, wanted))
        )
        contrast = np.clip(aim / np.maximum(spread, 1e-3), 1 / MOST_CONTRAST, MOST_CONTRAST)
        lab[:] = (lab - mean) * contrast + wanted
    return np.asarray(cv2.cvtColor(ours, cv2.COLOR_LAB2RGB) * 255, np.float32)
