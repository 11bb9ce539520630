"""Trains the draft: its tables from the pictures, its reader on all captions, its renderer on composed pictures."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_tools.training.clock import Budget, learning_rate
from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES, Concept, load_concepts
from model_tools.training.runlog import RunLog, load_state, save_state
from model_tools.training.starter.data.canvas import ASPECT_SIZES
from model_tools.training.starter.data.captions import ANYTHING, NO_OBJECT, Entry, descriptions, wrap
from model_tools.training.starter.data.compose import ALONE, COLOURS, LAYOUTS, mask_of
from model_tools.training.starter.data.library import load_composer
from model_tools.training.starter.data.scenes import SCENES
from model_tools.training.starter.networks.denoiser import coordinates
from model_tools.training.starter.networks.draft import SIDE, Draft, Reading, pool
from model_tools.training.starter.networks.text import embed, load_encoder, load_tokenizer
from model_tools.training.starter.trainers.latents import CaptionData, LatentData, encode, load_autoencoder

BATCH, RENDER_BATCH = 512, 32
PEAK = 2e-3
# Noise on the pooled embedding, of its deviation: captions near a known one shall be read as it is.
BLUR = 0.2
# Share of the time that goes to the reader; the rest is the renderer's.
READING = 0.4
SCENE_VIEWS = 6
SMOOTHING = 0.05
FIELDS = ("reader", "right", "renderer")


def fill_rows(draft: Draft, concepts: list[Concept]) -> None:
    """Notes which concept and style each row of the objects' table shows."""
    offset = 0
    for number, style in enumerate(STYLES):
        own = {concept.rows[style]: place for place, concept in enumerate(concepts) if style in concept.rows}
        for row, place in own.items():
            draft.row_concepts[offset + row] = place
            draft.row_styles[offset + row, number] = 1
        offset += len(own)
    draft.row_concepts[offset:] = torch.tensor([len(concepts), len(concepts) + 1])
    draft.row_styles[offset:] = 1


def fill_tables(draft: Draft, data: LatentData, workspace: Workspace) -> None:
    """Objects' latents and covers, the scenes' latents and white, all scaled."""
    composer, model, random = load_composer(workspace), load_autoencoder(workspace), np.random.default_rng(0)
    objects, scenes = draft.objects.data, draft.scenes.data
    white = encode(model, np.full((1, 128, 128, 3), 255, np.uint8))[0, :, 4:12, 4:12].mean((1, 2)) * data.scale
    draft.white.data.copy_(white[:, None, None])
    offset = 0
    for number, style in enumerate(STYLES):
        latents = data.alone[style].float() * data.scale
        cover = torch.from_numpy(np.stack([mask_of(picture, SIDE) for picture in composer.pictures[style]]))
        objects[offset : offset + len(latents)] = torch.cat([latents, cover[:, None]], 1).flatten(1)
        offset += len(latents)
        for place, key in enumerate(SCENES):
            views = np.stack([composer.back(style, key, ASPECT_SIZES[0], random) for _ in range(SCENE_VIEWS)])
            scenes[number * len(SCENES) + place] = (encode(model, views).mean(0) * data.scale).flatten()
    objects[offset] = torch.cat([draft.white.data.expand(-1, SIDE, SIDE), torch.zeros(1, SIDE, SIDE)]).flatten()
    objects[offset + 1] = objects[:offset].mean(0)
    fill_rows(draft, data.concepts)


def labels_of(entries: list[Entry], concepts: list[Concept]) -> Tensor:
    """What each caption asks for, as places in the reader's five outputs: int64 [N, 5]."""
    colours, scenes, count = list(COLOURS), list(SCENES), len(concepts)
    special = {NO_OBJECT: count, ANYTHING: count + 1}
    rows = [
        (
            special.get(entry.concept, entry.concept),
            STYLES.index(entry.style),
            colours.index(entry.colour) if entry.colour else len(colours),
            entry.layout,
            scenes.index(entry.scene) if entry.scene else len(scenes),
        )
        for entry in entries
    ]
    return torch.tensor(rows)


def train_reader(draft: Draft, data: CaptionData, minutes: float, log: RunLog, generator: torch.Generator) -> None:
    """Fits the reader to all captions. Common concepts and composed captions are drawn more often."""
    starts = range(0, len(data.entries), 1024)
    pooled = torch.cat([pool(data.text(np.arange(i, min(i + 1024, len(data.entries))))) for i in starts])
    labels = labels_of(data.entries, data.concepts)
    weights = torch.tensor([1.0 if e.concept < 0 else data.concepts[e.concept].weight ** 0.3 for e in data.entries])
    weights[labels[:, 0] == len(data.concepts) + 1] = 8.0
    noise = BLUR * pooled.std(0)
    learnt = nn.ModuleList([draft.norm, draft.reader])
    optimiser = torch.optim.AdamW(learnt.parameters(), lr=PEAK, weight_decay=2e-2, fused=True)
    budget, step = Budget(minutes * 60), 0
    while not budget.over():
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.share())
        drawn = torch.multinomial(weights, BATCH, replacement=True, generator=generator)
        source = pooled[drawn] + noise * torch.randn(BATCH, pooled.shape[1], generator=generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = draft.reader(draft.norm(source))
        losses = [
            functional.cross_entropy(
                part.float(), labels[drawn, place], label_smoothing=SMOOTHING if place == 0 else 0.0
            )
            for place, part in enumerate(logits)
        ]
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        right = (logits.concept.argmax(1) == labels[drawn, 0]).float().mean().item()
        log.step(step, budget.used(), step * BATCH, budget.share(), {"reader": loss.item(), "right": right})
    print(f"{described_rightly(draft, data.concepts):.0%} of the described things are read rightly", flush=True)


def asked(entries: list[Entry], rows: list[int], data: CaptionData, offsets: dict[str, int]) -> Reading:
    """The reading that captions ought to get."""
    labels = labels_of([entries[row] for row in rows], data.concepts)
    count = sum(style in concept.rows for concept in data.concepts for style in STYLES)
    places = [
        count if entry.concept == NO_OBJECT else offsets[entry.style] + data.concepts[entry.concept].rows[entry.style]
        for entry in (entries[row] for row in rows)
    ]
    scenes = torch.where(labels[:, 4] == len(SCENES), 2 * len(SCENES), labels[:, 4] + labels[:, 1] * len(SCENES))
    return Reading(
        functional.one_hot(torch.tensor(places), count + 2).float(),
        functional.one_hot(labels[:, 2], len(COLOURS) + 1).float(),
        functional.one_hot(labels[:, 3], len(LAYOUTS)).float(),
        functional.one_hot(scenes, 2 * len(SCENES) + 1).float(),
    )


def train_renderer(draft: Draft, data: LatentData, minutes: float, log: RunLog, generator: torch.Generator) -> None:
    """Fits the renderer to composed pictures, given what they show; the tables stay as they are."""
    learnt = draft.renderer
    optimiser = torch.optim.AdamW(learnt.parameters(), lr=PEAK, weight_decay=1e-3, fused=True)
    offsets = {"3d": 0, "flat": data.weights["3d"].numel()}
    budget, step = Budget(minutes * 60), 0
    canvases = [ASPECT_SIZES[0]] * 5 + list(ASPECT_SIZES[1:])
    while not budget.over():
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PEAK, step, budget.share())
        canvas = canvases[0] if step % 4 else canvases[int(torch.randint(len(canvases), (), generator=generator))]
        picked = torch.randint(len(data.composed[canvas]), (RENDER_BATCH,), generator=generator)
        target = data.composed[canvas][picked].float() * data.scale
        captions = [int(row) for row in data.asked[canvas][picked.numpy()]]
        reading = asked(data.entries, captions, data, offsets)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            guess = draft.render(reading, *coordinates(target))
        loss = (guess.float() - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        log.step(step, budget.used(), step * RENDER_BATCH, budget.share(), {"renderer": loss.item()})


def train_draft(workspace: Workspace, minutes: float, *, seed: int = 2) -> None:
    """Makes the tables, trains both networks one after the other, and saves the draft."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    data = LatentData(workspace)
    rows = sum(data.weights[style].numel() for style in STYLES)
    draft = Draft(len(data.concepts), rows)
    fill_tables(draft, data, workspace)
    draft.objects.requires_grad_(False)
    draft.scenes.requires_grad_(False)
    log = RunLog(workspace.log("draft"), FIELDS)
    train_reader(draft, data, READING * minutes, log, generator)
    save_state(workspace.draft, draft.state_dict())
    train_renderer(draft, data, (1 - READING) * minutes, log, generator)
    log.close()
    save_state(workspace.draft, draft.state_dict())


def train_reader_again(workspace: Workspace, minutes: float, *, seed: int = 5) -> None:
    """Trains the reader of a draft that is there on the captions as they are now; tables and renderer stay."""
    torch.manual_seed(seed)
    draft, log = load_draft(workspace), RunLog(workspace.log("draft"), FIELDS)
    draft.norm.requires_grad_(True)
    draft.reader.requires_grad_(True)
    train_reader(draft, CaptionData(workspace), minutes, log, torch.Generator().manual_seed(seed))
    log.close()
    save_state(workspace.draft, draft.state_dict())


def described_rightly(draft: Draft, concepts: list[Concept]) -> float:
    """Share of the descriptions kept out of training that are read, in both styles, as their thing alone on white.

    0 where none of the concepts is described.
    """
    places = {concept.label: place for place, concept in enumerate(concepts)}
    known = [(text, places[label]) for text, label in descriptions().items() if label in places]
    if not known:
        return 0.0
    texts = [wrap(text, style, wrapped=True) for style in STYLES for text, _ in known]
    text = torch.from_numpy(embed(load_encoder(), load_tokenizer(), texts)).float()
    with torch.inference_mode():
        reading = draft.read(draft.norm(pool(text)))
    things = draft.row_concepts[reading.rows.argmax(1)] == torch.tensor([place for _, place in known * len(STYLES)])
    plain = (reading.colour[:, -1] * reading.layout[:, ALONE] * reading.scene[:, -1]).bool()
    return (things & plain).float().mean().item()


def load_draft(workspace: Workspace) -> Draft:
    """The trained draft. Raises FileNotFoundError before its training."""
    state = load_state(workspace.draft)
    if state is None:
        raise FileNotFoundError(f"{workspace.draft}: train the draft first")
    draft = blank_draft(workspace)
    draft.load_state_dict(state)
    return draft.eval().requires_grad_(False)


def blank_draft(workspace: Workspace) -> Draft:
    """A new draft of the workspace's concepts and pictures."""
    concepts = load_concepts(workspace)
    return Draft(len(concepts), sum(style in concept.rows for concept in concepts for style in STYLES))
