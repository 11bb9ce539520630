"""Where the tool keeps its data, states and results."""

from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
REPOSITORY = REPO / "model_repository"
"""Models that are served unasked."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The git-ignored folder of one training run. Every stage reads what the one before it wrote."""

    root: Path = REPO / ".starter"

    @property
    def data(self) -> Path:
        """Unpacked npm packages."""
        return self.root / "data"

    @property
    def concepts(self) -> Path:
        """JSON list of the concepts that have a picture."""
        return self.root / "concepts.json"

    def pictures(self, style: str) -> Path:
        """uint8 RGBA [N, 256, 256, 4], rows in the order of the concepts that have the style."""
        return self.root / f"pictures_{style}.npy"

    @property
    def captions(self) -> Path:
        """JSON list of caption strings, in the order of the embeddings' rows."""
        return self.root / "captions.json"

    @property
    def embeddings(self) -> Path:
        """float16 [captions, 48, 384]."""
        return self.root / "embeddings.npy"

    @property
    def vae(self) -> Path:
        """Training state of the autoencoder."""
        return self.root / "vae.pt"

    @property
    def latents(self) -> Path:
        """Folder of float16 latents, one file per style and aspect size."""
        return self.root / "latents"

    @property
    def draft(self) -> Path:
        """Weights of the draft."""
        return self.root / "draft.pt"

    @property
    def unet(self) -> Path:
        """Training state of the denoiser."""
        return self.root / "unet.pt"

    @property
    def adapters(self) -> Path:
        """Training state of the control and the image-prompt adapters."""
        return self.root / "adapters.pt"

    def log(self, stage: str) -> Path:
        """CSV of a stage's losses."""
        return self.root / f"{stage}.csv"
