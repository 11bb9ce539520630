"""Faces without a photograph: 468 points on an ellipse and within it."""

import numpy as np

from orchestrator.imaging.face_swap import Points
from orchestrator.imaging.faces import OVAL


def mesh(middle: tuple[float, float], radii: tuple[float, float], turn: float = 0.0) -> Points:
    """Points of the face mesh: its outline on an ellipse, turned by some radians, the others spread within."""
    points = np.empty((468, 2))
    inner = np.setdiff1d(np.arange(468), OVAL)
    angles = np.arange(len(inner)) * 2.399963  # the golden angle spreads them evenly
    reach = 0.9 * np.sqrt((np.arange(len(inner)) + 0.5) / len(inner))
    points[inner] = np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1)
    around = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False) - np.pi / 2
    points[list(OVAL)] = np.stack([np.cos(around), np.sin(around)], axis=1)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.asarray(points * radii @ np.array([[cos, sin], [-sin, cos]]) + middle)
