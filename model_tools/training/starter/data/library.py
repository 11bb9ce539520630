"""Both styles' pictures in memory, ready to be composed."""

import numpy as np

from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES, load_concepts
from model_tools.training.starter.data.augment import shrink
from model_tools.training.starter.data.compose import Composer


def load_composer(workspace: Workspace) -> Composer:
    """A composer of all pictures that `prepare` wrote (330 MB)."""
    concepts = load_concepts(workspace)
    pictures = {
        style: [shrink(image) for image in np.load(workspace.pictures(style), mmap_mode="r")] for style in STYLES
    }
    labels = {style: {c.label: c.rows[style] for c in concepts if style in c.rows} for style in STYLES}
    return Composer(pictures, labels)
