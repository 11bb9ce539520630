"""Both styles' pictures in memory, ready to be composed."""

import numpy as np

from model_tools.starter.augment import shrink
from model_tools.starter.compose import Composer
from model_tools.starter.paths import Workspace
from model_tools.starter.pictures import STYLES, load_concepts


def load_composer(workspace: Workspace) -> Composer:
    """A composer of all pictures that `prepare` wrote (330 MB)."""
    concepts = load_concepts(workspace)
    pictures = {
        style: [shrink(image) for image in np.load(workspace.pictures(style), mmap_mode="r")] for style in STYLES
    }
    labels = {style: {c.label: c.rows[style] for c in concepts if style in c.rows} for style in STYLES}
    return Composer(pictures, labels)
