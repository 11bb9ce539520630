"""What is measured: models, the size of the picture, and how many are timed. Imports nothing of ours or others'."""

from dataclasses import dataclass, replace
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
SD15 = REPO / ".bench" / "sd15"
"""Where `model_tools.goldens.sd15` builds its model."""

PROMPT = "a red lighthouse on a cliff, stormy sea"


@dataclass(frozen=True, slots=True)
class Workload:
    """One model and the request that is repeated. Sampler, steps and guidance are the family's defaults.

    Attributes:
        name: on the command line and in the table.
        families: families.toml that serves it.
        family: the table of that file to ask for.
        repository: Triton's model repository.
        width, height: of the picture, pixels: one of the family's aspect sizes, so that nothing is resized.
        images: pictures to time, by the number of clients.
        rest: whether REST is measured too: where a picture takes milliseconds, so that the gateway would show.
    """

    name: str
    families: Path
    family: str
    repository: Path
    width: int
    height: int
    images: dict[int, int]
    rest: bool

    @property
    def fewer(self) -> dict[int, int]:
        """Half as many, for systems whose pictures come one by one or batch by batch and so hardly differ in time."""
        return {clients: max(clients, images // 2) for clients, images in self.images.items()}

    def limited(self, clients: list[int], images: int | None) -> "Workload":
        """The same for other numbers of clients, and of pictures: `images`, or as many as clients if those are more."""
        usual = max(self.images.values())
        return replace(self, images={n: max(n, images or self.images.get(n, usual)) for n in clients})


WORKLOADS = {
    "sd15": Workload(
        name="sd15",
        families=SD15 / "families" / "families.toml",
        family="sd15",
        repository=SD15 / "model_repository",
        width=512,
        height=512,
        images={1: 4, 8: 16},
        rest=False,
    ),
    "starter": Workload(
        name="starter",
        families=REPO / "families" / "families.toml",
        family="realistic",
        repository=REPO / "model_repository",
        width=128,
        height=128,
        images={1: 24, 8: 64},
        rest=True,
    ),
}
