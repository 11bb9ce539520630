"""What text encoders answered is kept by the digest of what they were given, and is the same bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.models.embeddings import Embeddings, RememberedEncoders
from orchestrator.models.source import ModelDigest
from orchestrator.models.triton import ModelInfo

ROW_BYTES = 4 * 3 * 4
"""Of an answer of Encoder: (1, 4, 3) float32."""


class Encoder:
    """An Inference whose rows depend on their ids alone."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    async def infer(
        self, _info: ModelInfo, inputs: Mapping[str, Any], outputs: Sequence[str]
    ) -> tuple[np.ndarray[Any, Any], ...]:
        ids = inputs["input_ids"]
        self.rows.append(len(ids))
        return tuple(
            np.sin(ids[:, :, None] * np.arange(1, 4, dtype=np.float32) + place).astype(np.float32)
            for place in range(len(outputs))
        )


def info(sha256: str = "ab") -> ModelInfo:
    return ModelInfo("text", {}, {}, ("input_ids",), ("hidden_states",), frozenset(), 8, {}, {}, digest(sha256))


def digest(sha256: str) -> ModelDigest:
    return ModelDigest("text", sha256, "openvino")


def ids(*rows: int) -> dict[str, Any]:
    return {"input_ids": np.array([[row, row + 1, row + 2, 0] for row in rows], np.int32)}


def count(source: str) -> float:
    return REGISTRY.get_sample_value("imagegen_text_embeddings_total", {"source": source}) or 0.0


async def test_a_row_that_was_encoded_is_not_encoded_again_and_is_the_same_bytes() -> None:
    plain, engine = Encoder(), Encoder()
    remembered = RememberedEncoders(engine, Embeddings(1 << 20), whole=False)
    hits = count("hit")
    for asked in (ids(0, 5), ids(0, 7), ids(7, 5), ids(5, 0, 7)):
        (expected,) = await plain.infer(info(), asked, ["hidden_states"])
        (found,) = await remembered.infer(info(), asked, ["hidden_states"])
        assert found.tobytes() == expected.tobytes()
    assert engine.rows == [2, 1]
    assert count("hit") - hits == 6


async def test_what_is_given_out_can_be_changed_without_changing_what_is_kept() -> None:
    remembered = RememberedEncoders(Encoder(), Embeddings(1 << 20), whole=False)
    (first,) = await remembered.infer(info(), ids(3), ["hidden_states"])
    kept = first.copy()
    first += 1
    (second,) = await remembered.infer(info(), ids(3), ["hidden_states"])
    assert second.tobytes() == kept.tobytes()


@pytest.mark.parametrize(
    ("model", "asked", "outputs"),
    [
        (info("cd"), ids(3), ["hidden_states"]),
        (info(), ids(3), ["skipped_states"]),
        (info(), {**ids(3), "lora_scale": np.ones((1, 2), np.float32)}, ["hidden_states"]),
    ],
    ids=["another network", "another output", "with LoRAs"],
)
async def test_another_network_output_or_input_is_another_answer(
    model: ModelInfo, asked: dict[str, Any], outputs: list[str]
) -> None:
    engine = Encoder()
    remembered = RememberedEncoders(engine, Embeddings(1 << 20), whole=False)
    await remembered.infer(info(), ids(3), ["hidden_states"])
    await remembered.infer(model, asked, outputs)
    assert engine.rows == [1, 1]


async def test_a_network_without_a_digest_is_always_asked() -> None:
    engine = Encoder()
    remembered = RememberedEncoders(engine, Embeddings(1 << 20), whole=False)
    for _ in range(2):
        await remembered.infer(info(""), ids(3), ["hidden_states"])
    assert engine.rows == [1, 1]


async def test_where_rows_depend_on_their_company_the_whole_call_is_kept() -> None:
    engine = Encoder()
    remembered = RememberedEncoders(engine, Embeddings(1 << 20), whole=True)
    for asked in (ids(0, 5), ids(0, 5), ids(0, 7)):
        await remembered.infer(info(), asked, ["hidden_states"])
    assert engine.rows == [2, 2]


async def test_those_that_were_used_last_are_kept_within_the_bytes() -> None:
    engine, embeddings = Encoder(), Embeddings(2 * ROW_BYTES)
    remembered = RememberedEncoders(engine, embeddings, whole=False)
    for row in (1, 2, 1, 3, 1, 2):  # 3 takes the place of 2, and 2 that of 3
        await remembered.infer(info(), ids(row), ["hidden_states"])
    assert engine.rows == [1, 1, 1, 1]
    assert REGISTRY.get_sample_value("imagegen_text_embedding_bytes") == 2 * ROW_BYTES
    await RememberedEncoders(engine, Embeddings(0), whole=False).infer(info(), ids(1), ["hidden_states"])
    assert engine.rows == [1] * 5
