"""What the adapters train on: a picture, its caption, its edges and another view of it, each there or not by chance."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES, load_concepts
from model_tools.training.starter.data import augment
from model_tools.training.starter.data.augment import Bytes, Floats
from model_tools.training.starter.data.canvas import ASPECT_SIZES, FILL, PROMPT_SIDE
from model_tools.training.starter.data.compose import Composer
from model_tools.training.starter.data.persons import (
    Identity,
    identity,
    load_persons,
    neutral,
    read_kinds,
    without_tone,
)
from model_tools.training.starter.trainers.latents import CaptionData, recipes
from model_tools.training.starter.trainers.train_vae import to_float

# Shares of a batch's rows steered by edges alone and by an image prompt alone; the rest have both. Edges are learnt in
# minutes; what a picture shows takes far longer, and costs less for each row.
EDGES_ALONE, PROMPT_ALONE = 0.15, 0.7
EMPTY_SHARE = 0.33
NATIVE_SHARE = 0.8
# Of the rows with edges: how many show the picture elsewhere than in the middle, and how many of those two pictures.
MOVED_SHARE, PAIR_SHARE = 0.5, 0.3
# Of the rows with an image prompt: how many are recoloured, so that colours are not to be had from the caption; how
# many of the persons take their prompt from another person of the same kind; and a caption that names no gender.
RECOLOURED_SHARE, STRANGER_SHARE, NEUTRAL_SHARE = 0.4, 0.5, 0.5
OTHER_STYLE_SHARE = 0.4
HEAD_SHARE = 0.7
# Of the rows with edges alone: how many show a composed picture, with its caption.
COMPOSED_SHARE = 0.35
# Of all steered rows: how many at a scale below 1, so that strength grades.
PARTIAL_SHARE = 0.2
# How often pictures are drawn for edges and for image prompts. Faces and persons are what image prompts are for.
EDGE_WEIGHTS = {"core": 1.0, "face": 0.5, "person": 0.2, "tone": 0.04, "rest": 0.25}
PROMPT_WEIGHTS = {"core": 0.5, "face": 1.0, "person": 0.5, "tone": 0.3, "rest": 0.15}


@dataclass(frozen=True, slots=True)
class Subject:
    """One picture. `concept`: the row in its style's captions; `kind`: a key of EDGE_WEIGHTS; `who` or None."""

    code: str
    style: str
    concept: int
    kind: str
    who: Identity | None
    picture: Bytes


class Row(NamedTuple):
    """A row before it becomes tensors: the picture, edges, prompt (each uint8), the caption's row, both scales."""

    target: Bytes
    edges: Bytes
    prompt: Bytes
    caption: int
    control: float
    image: float


@dataclass(frozen=True, slots=True)
class AdapterBatch:
    """A batch of one aspect size.

    `target` [B, 3, H, W] and `prompt` [B, 3, 128, 128] in [-1, 1], `control` [B, 3, H, W] in [0, 1], `text`
    [B, 48, 384], both scales [B, 1], 0 where there is no edge picture or no prompt. The first `edged` rows have edges,
    all but the first `unprompted` a prompt.
    """

    edged: int
    unprompted: int

    target: Tensor
    control: Tensor
    prompt: Tensor
    text: Tensor
    control_scale: Tensor
    image_scale: Tensor


@dataclass(slots=True)
class Library:
    """All pictures, and where to find those of a concept or of a kind of person."""

    subjects: list[Subject] = field(default_factory=list)
    by_code: dict[tuple[str, str], int] = field(default_factory=dict)
    by_person: dict[Identity, list[int]] = field(default_factory=dict)

    def add(self, subject: Subject) -> None:
        """Puts a picture on its shelves."""
        self.by_code[subject.style, subject.code] = len(self.subjects)
        if subject.who is not None:
            self.by_person.setdefault(subject.who, []).append(len(self.subjects))
        self.subjects.append(subject)

    def composer(self, labels: dict[str, str]) -> Composer:
        """A composer of the same pictures. `labels`: code to label."""
        pictures: dict[str, dict[int, Bytes]] = {style: {} for style in STYLES}
        named: dict[str, dict[str, int]] = {style: {} for style in STYLES}
        for subject in self.subjects:
            if subject.code in labels:
                pictures[subject.style][subject.concept] = subject.picture
                named[subject.style][labels[subject.code]] = subject.concept
        return Composer({style: [rows[row] for row in sorted(rows)] for style, rows in pictures.items()}, named)

    def weights(self, by_kind: dict[str, float]) -> Tensor:
        """How often each picture is drawn."""
        return torch.tensor([by_kind[subject.kind] for subject in self.subjects])


def load_library(workspace: Workspace) -> Library:
    """Both styles' pictures, and their persons in every skin tone."""
    library, persons, kinds = Library(), load_persons(workspace), read_kinds(workspace)
    for style in STYLES:
        pictures = np.load(workspace.pictures(style), mmap_mode="r")
        concepts = {concept.code: concept for concept in load_concepts(workspace) if style in concept.rows}
        for code, concept in concepts.items():
            kind = kinds.get(code, "core" if concept.weight == 1.0 else "rest")
            who = identity(code) if kind == "person" else None
            row = concept.rows[style]
            library.add(Subject(code, style, row, kind, who, augment.shrink(pictures[row])))
        for code, image in zip(*persons[style], strict=True):
            if kinds.get(without_tone(code)) == "person":
                row = concepts[without_tone(code)].rows[style]
                library.add(Subject(code, style, row, "tone", identity(code), augment.shrink(image)))
    return library


class AdapterData(CaptionData):
    """Draws training batches. All pictures are in memory (650 MB)."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.library = load_library(workspace)
        self.weights = {
            False: self.library.weights(EDGE_WEIGHTS).double().numpy(),
            True: self.library.weights(PROMPT_WEIGHTS).double().numpy(),
        }
        self.weights = {key: (value / value.sum()).cumsum() for key, value in self.weights.items()}
        self.composer = self.library.composer({c.code: c.label for c in self.concepts})
        self.recipes = recipes(self.entries, [c.rows for c in self.concepts], np.random.default_rng(0))

    def draw(self, size: int, generator: torch.Generator) -> AdapterBatch:
        """A batch of one aspect size, of both styles."""
        random = np.random.default_rng(int(torch.randint(2**62, (), generator=generator).item()))
        canvas = (
            ASPECT_SIZES[0] if random.random() < NATIVE_SHARE else ASPECT_SIZES[random.integers(1, len(ASPECT_SIZES))]
        )
        edged, unprompted = size - round(size * PROMPT_ALONE), round(size * EDGES_ALONE)
        rows = [self.draw_row(canvas, random, edged=i < edged, prompted=i >= unprompted) for i in range(size)]
        edges = np.stack([row.edges for row in rows]).astype(np.float32) / 255
        captions = np.array([row.caption for row in rows])
        return AdapterBatch(
            edged,
            unprompted,
            to_float(np.stack([row.target for row in rows])),
            torch.from_numpy(edges)[:, None].expand(-1, 3, -1, -1),
            to_float(np.stack([row.prompt for row in rows])),
            torch.from_numpy(self.embeddings[captions]).float(),
            torch.tensor([[row.control] for row in rows], dtype=torch.float32),
            torch.tensor([[row.image] for row in rows], dtype=torch.float32),
        )

    def pick(self, random: np.random.Generator, *, prompted: bool) -> Subject:
        """A picture by weight."""
        return self.library.subjects[int(np.searchsorted(self.weights[prompted], random.random()))]

    def draw_row(self, canvas: tuple[int, int], random: np.random.Generator, *, edged: bool, prompted: bool) -> Row:
        """One picture, and what steers towards it."""
        if edged and not prompted and random.random() < COMPOSED_SHARE:
            return self.draw_composed(canvas, random)
        subject = self.pick(random, prompted=prompted)
        matrix = augment.recolouring(random) if prompted and random.random() < RECOLOURED_SHARE else None
        front = self.lay_out(
            augment.recolour(subject.picture, matrix), canvas, random, moved=edged and random.random() < MOVED_SHARE
        )
        target = augment.over(front, augment.white(canvas))
        edges = augment.draw_edges(target, front[..., 3], random) if edged else np.zeros(target.shape[:2], np.uint8)
        prompt = self.draw_prompt(subject, random, matrix) if prompted else augment.white((PROMPT_SIDE, PROMPT_SIDE))
        strength = random.uniform(0.1, 1.0, 2) if random.random() < PARTIAL_SHARE else np.ones(2)
        caption = self.draw_caption(subject, random, prompted=prompted)
        return Row(target, edges, prompt, caption, edged * strength[0], prompted * strength[1])

    def draw_composed(self, canvas: tuple[int, int], random: np.random.Generator) -> Row:
        """A scene, several things or recoloured ones, with their edges and their caption."""
        caption, recipe = self.recipes[random.integers(len(self.recipes))]
        target = self.composer.draw(recipe, canvas, random)
        edges = augment.draw_edges(target, np.ascontiguousarray(target[..., 1]), random)
        nothing = augment.white((PROMPT_SIDE, PROMPT_SIDE))
        row = self.empty if random.random() < EMPTY_SHARE else caption
        return Row(
            target, edges, nothing, row, random.uniform(0.1, 1.0) if random.random() < PARTIAL_SHARE else 1.0, 0.0
        )

    def lay_out(self, picture: Bytes, canvas: tuple[int, int], random: np.random.Generator, *, moved: bool) -> Bytes:
        """The picture on its canvas, premultiplied RGBA: in the middle, or anywhere, and then sometimes not alone."""
        shorter = min(canvas)
        if not moved:
            return augment.move(picture, canvas, round(shorter * FILL))
        front = augment.move(picture, canvas, shorter * random.uniform(0.4, 1.2), **anywhere(random))
        if random.random() < PAIR_SHARE:
            other = self.pick(random, prompted=False).picture
            back = augment.move(other, canvas, shorter * random.uniform(0.3, 1.1), **anywhere(random))
            front = augment.over(front, back)
        return front

    def draw_prompt(self, subject: Subject, random: np.random.Generator, matrix: Floats | None) -> Bytes:
        """Another view: of the same picture, of it in the other style, or of another person of the same kind."""
        shown = subject
        if subject.who is not None and random.random() < STRANGER_SHARE:
            shown = self.library.subjects[random.choice(self.library.by_person[subject.who])]
        elif random.random() < OTHER_STYLE_SHARE:
            other = self.library.by_code.get(("flat" if subject.style == "3d" else "3d", subject.code))
            shown = subject if other is None else self.library.subjects[other]
        head = shown.who is not None and random.random() < HEAD_SHARE
        return augment.photograph(augment.recolour(shown.picture, matrix), random, head=head)

    def draw_caption(self, subject: Subject, random: np.random.Generator, *, prompted: bool) -> int:
        """Row of a caption of the picture; of none; or, where a prompt says who it is, of the role alone."""
        if random.random() < EMPTY_SHARE:
            return self.empty
        concept = subject.concept
        if prompted and subject.who is not None and random.random() < NEUTRAL_SHARE:
            place = self.library.by_code.get((subject.style, neutral(without_tone(subject.code))))
            concept = concept if place is None else self.library.subjects[place].concept
        return int(random.choice(self.plain[subject.style][concept]))


def anywhere(random: np.random.Generator) -> dict[str, Any]:
    """Where a moved picture is: arguments of augment.move."""
    return {
        "centre": tuple(random.uniform(0.25, 0.75, 2)),
        "turn": random.uniform(-0.4, 0.4),
        "mirrored": random.random() < 0.5,
    }
