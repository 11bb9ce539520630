"""Whether Triton infers: a known tensor through each of its models. Exit status 0: it does; 1: start it again.

Triton's own health report says "ready" of a model whose process is dead or frozen. This runs in Triton's container as
the liveness probe of the chart, and under the supervisor of the embedded stack. It needs Python's standard library and
Triton's HTTP endpoint, nothing else.

A model is sent one row, or as many as it is warmed up with, of the sizes that its configuration names for the warm-up:
a model that was loaded has run those once. One without a warm-up is left out, since nobody knows what it takes. A model
that is late and answers others meanwhile is busy, not frozen. With --state, models that have answered since the last
probe are not asked: whoever asked them has shown that they infer.
"""

from __future__ import annotations

import argparse
import array
import json
import math
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TYPECODES = {"FP32": "f", "FP64": "d", "INT8": "b", "UINT8": "B", "INT32": "i", "UINT32": "I", "INT64": "q"}
"""Triton's datatypes that the module `array` has, too."""
PERIOD = 1009
CHECK_SECONDS = 10.0
"""Longest time for a question that no model has to work for."""
REFUSED = 400
"""HTTP status of a request that Triton or the model finds wrong: it was read, so somebody is there."""


def ask(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None, seconds: float = CHECK_SECONDS
) -> Any:  # noqa: ANN401 - JSON of any kind
    """Return the JSON that Triton answers; of an inference the part before the tensors."""
    request = urllib.request.Request(url, body, headers or {})  # noqa: S310 - http, of the container itself
    with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - as above
        length = answer.headers.get("Inference-Header-Content-Length")
        text = answer.read(int(length)) if length else answer.read()
    return json.loads(text) if text else {}


def known_request(config: dict[str, Any]) -> tuple[bytes, dict[str, str]] | None:
    """Return body and headers of a known inference (KServe protocol v2, binary tensor data); None if there is none."""
    warmup = next(iter(config.get("model_warmup", ())), None)
    if warmup is None:
        return None
    inputs, tensors = [], []
    for tensor in config["input"]:
        if tensor.get("optional"):
            continue
        datatype = tensor["data_type"].removeprefix("TYPE_")
        sizes = warmup["inputs"].get(tensor["name"], tensor)["dims"]
        shape = [max(1, int(warmup.get("batch_size", 1))), *map(int, sizes)]
        data = known_data(datatype, math.prod(shape))
        if data is None or min(shape) < 1:
            return None
        parameters = {"binary_data_size": len(data)}
        inputs.append({"name": tensor["name"], "datatype": datatype, "shape": shape, "parameters": parameters})
        tensors.append(data)
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return b"".join([header, *tensors]), {"Inference-Header-Content-Length": str(len(header))}


def known_data(datatype: str, count: int) -> bytes | None:
    """Return the bytes of `count` known numbers, of period PERIOD; None for a type not known here."""
    if datatype == "FP16":
        period = array.array("H", (0x3400 + index % 7 for index in range(PERIOD)))  # 0.25 and a little more
    elif datatype in TYPECODES:
        code = TYPECODES[datatype]
        known = (math.sin(0.37 * index + 1) if code in "fd" else 1 + 7 * index % 97 for index in range(PERIOD))
        period = array.array(code, known)  # type: ignore[arg-type]  # floats for the codes of floats
    else:
        return None
    return (period * (count // PERIOD + 1))[:count].tobytes()


def count_answers(url: str, model: str) -> int:
    """Return how many requests a model has answered since Triton's start."""
    (statistics,) = ask(f"{url}/v2/models/{model}/stats")["model_stats"]
    return int(statistics["inference_stats"]["success"]["count"])


def count_all_answers(url: str) -> dict[str, int]:
    """Return how many requests each model has answered since Triton's start; none where Triton does not say."""
    try:
        found = ask(f"{url}/v2/models/stats")["model_stats"]
        return {each["name"]: int(each["inference_stats"]["success"]["count"]) for each in found}
    except (OSError, ValueError, KeyError):
        return {}


def read_counts(state: Path | None) -> dict[str, int]:
    """Return the counts that the last probe left; none where there is no such file, or it is broken."""
    try:
        return dict(json.loads(state.read_text("utf-8"))) if state else {}
    except (OSError, ValueError):
        return {}


def find_fault(url: str, model: str, seconds: float) -> str:
    """Return why a model does not infer; "" if it does, or if it cannot be asked."""
    answered = -1
    try:
        known = known_request(ask(f"{url}/v2/models/{model}/config"))
        if known is None:
            return ""
        answered = count_answers(url, model)
        ask(f"{url}/v2/models/{model}/infer", *known, seconds=seconds)
    except urllib.error.HTTPError as error:
        return "" if error.code == REFUSED else f"{error.code}: {error.read(500).decode(errors='replace')}"
    except (OSError, ValueError) as error:
        try:
            return "" if 0 <= answered < count_answers(url, model) else f"no answer in {seconds:g} s: {error}"
        except (OSError, ValueError):
            return f"no answer: {error}"
    return ""


def find_faults(url: str, seconds: float, state: Path | None = None) -> dict[str, str]:
    """Return the models that do not infer, each with the reason; of the server itself under "triton".

    Args:
        url: of Triton's HTTP endpoint.
        seconds: longest time for a model's answer.
        state: file with the models' counts of answers, which the next probe reads.
    """
    try:
        index = ask(f"{url}/v2/repository/index", b"")
    except (OSError, ValueError) as error:
        return {"triton": str(error)}
    before, now = read_counts(state), count_all_answers(url) if state else {}
    ready = [model["name"] for model in index if model.get("state") == "READY"]
    models = [name for name in ready if now.get(name, 0) <= before.get(name, now.get(name, 0))]
    with ThreadPoolExecutor(max(1, len(models))) as threads:
        faults = threads.map(lambda model: find_fault(url, model, seconds), models)
        found = {model: fault for model, fault in zip(models, faults, strict=True) if fault}
    if state:
        state.write_text(json.dumps(count_all_answers(url)), "utf-8")
    return found


def main() -> int:
    """Ask, and print what is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="Triton's HTTP endpoint")
    parser.add_argument("--seconds", type=float, default=30.0, help="longest time for a model's answer")
    parser.add_argument("--state", type=Path, help="file that remembers which models have answered until now")
    arguments = parser.parse_args()
    faults = find_faults(arguments.url, arguments.seconds, arguments.state)
    for model, fault in faults.items():
        print(f"{model}: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
