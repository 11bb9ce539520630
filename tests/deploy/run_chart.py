"""`make run-chart`: the cpu-trial profile, rendered by helm and run by podman on this machine, under load and drained.

Images are those of `make images` (on a stand-in base) and a stand-in for PostgreSQL's. Each part is played
as a pod of its own with what the chart gives it: user, read-only root, dropped capabilities, memory, environment,
volumes, init containers. podman has no Services and runs no probes: an alias on the network replaces a Service's
name, and this script asks what the readiness probes ask.

1. a picture over REST and one over gRPC;
2. a second orchestrator next to the first, as a rolling update starts it; then SIGTERM to the first, under load.

Exit code 0 if no request failed beyond what clients repeat, no job was lost, and the pod ended with 0. Prints what it
saw, and writes it to docs/run-chart.txt.
"""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import httpx
import yaml

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import generation_pb2_grpc
from tests.deploy.tools import ROOT, profile
from tests.integration.pictures import decode

NETWORK, RELEASE = "imagegen-trial", "trial"
REST, GRPC = 28080, 28051
IMAGES = ("gateway", "orchestrator", "triton-cpu", "starter-models")
SECONDS_OF_LOAD, CLIENTS = 40.0, 4
OUT = ROOT / "docs" / "run-chart.txt"
BODY = {"width": 256, "height": 256, "background": {"generate": {"description": "a red apple"}}}

Resource = dict[str, Any]
lines: list[str] = []


def say(words: str) -> None:
    """Print, and keep for the record."""
    lines.append(words)
    print(words, flush=True)  # noqa: T201 - what this is for


def podman(*arguments: str, stdin: str = "", check: bool = True) -> str:
    """What podman answers.

    Raises:
        subprocess.CalledProcessError: it failed; its complaints are on the terminal.
    """
    environment = {"CONTAINERS_CONF": str(ROOT / "docker" / "containers.conf"), **os.environ}
    command = ["podman", *arguments]
    done = subprocess.run(command, input=stdin, env=environment, text=True, stdout=subprocess.PIPE, check=check)  # noqa: S603
    return done.stdout.strip()


def rendered() -> dict[tuple[str, str], Resource]:
    """What helm makes of the profile; one change: results lie in a claim, which two orchestrators can share."""
    text = profile("cpu-trial", "--set=results.existingClaim=trial-results", f"--set=publicUrl=http://127.0.0.1:{REST}")
    found = [each for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"].removeprefix(f"{RELEASE}-")): each for each in found}


def pod_of(resource: Resource, name: str, secrets: dict[str, dict[str, str]]) -> Resource:
    """A pod as podman plays it: without probes, images from here, secrets put in, claims as named volumes."""
    template = resource["spec"]["template"]
    spec = json.loads(json.dumps(template["spec"]))
    for unknown in ("topologySpreadConstraints", "serviceAccountName", "priorityClassName", "enableServiceLinks"):
        spec.pop(unknown, None)
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "ports"):
            container.pop(probe, None)
        if container["image"].startswith("imagegen/"):
            container["image"] = f"localhost/{container['image']}"
        container["imagePullPolicy"] = "Never"
        for each in container.get("env", []):
            if reference := each.pop("valueFrom", {}).get("secretKeyRef"):
                each["value"] = secrets[reference["name"]][reference["key"]]
    for claim in resource["spec"].get("volumeClaimTemplates", []):
        volume = {"claimName": f"{RELEASE}-{claim['metadata']['name']}"}
        spec["volumes"].append({"name": claim["metadata"]["name"], "persistentVolumeClaim": volume})
    _own_volumes(spec, name)
    spec["restartPolicy"] = "Never"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"trial": "yes"}}, "spec": spec}


def _own_volumes(spec: Resource, pod: str) -> None:
    """Make every emptyDir a volume of the pod's own and of its user's, which is what fsGroup does.

    podman makes one by its bare name, which other pods' would share, of root's, and never in memory.
    """
    for volume in spec["volumes"]:
        volume["name"] = f"{pod}-{volume['name']}"
        empty = volume.pop("emptyDir", None)
        if empty is None:
            continue
        if empty.get("medium") == "Memory":
            folder = Path("/dev/shm") / f"{RELEASE}-{volume['name']}"  # noqa: S108 - this machine's memory; of no size
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            folder.chmod(0o1777)
            volume["hostPath"] = {"path": str(folder), "type": "Directory"}
        else:
            podman("volume", "create", "--opt=o=uid=10001,gid=10001", volume["name"])
            volume["persistentVolumeClaim"] = {"claimName": volume["name"]}
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        for mount in container.get("volumeMounts", []):
            mount["name"] = f"{pod}-{mount['name']}"


def play(pod: Resource, alias: str, port: int = 0, host_port: int = 0) -> None:
    """Start a pod under a name of a Service, and with a port of this machine where one is given."""
    if port:
        published = {"containerPort": port, "hostPort": host_port, "hostIP": "127.0.0.1"}
        pod["spec"]["containers"][0]["ports"] = [published]
    podman("play", "kube", f"--network={NETWORK}:alias={alias}", "-", stdin=yaml.safe_dump(pod))


def container_of(pod: str) -> str:
    """The container that a pod is about."""
    names = podman("ps", "--all", "--filter", f"pod={pod}", "--format", "{{.Names}}").split()
    return next(name for name in names if not name.endswith(("-infra", "-models", "-migrate")))


async def until_ready(url: str) -> float:
    """Wait until a page answers 200, as a readiness probe does; returns the seconds."""
    start = time.monotonic()
    async with httpx.AsyncClient(timeout=5) as client, asyncio.timeout(300):
        while True:
            try:
                if (await client.get(url)).status_code == 200:
                    return time.monotonic() - start
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)


def clear() -> None:
    """Remove what an earlier run has left."""
    for pod in podman("pod", "ls", "--filter", "label=trial=yes", "--format", "{{.Name}}").split():
        podman("pod", "rm", "--force", "--time=0", pod)
    ours = ("postgres-", "triton-", "orchestrator-", "gateway-", f"{RELEASE}-")
    for volume in podman("volume", "ls", "--quiet").split():
        if volume.startswith(ours):
            podman("volume", "rm", volume)
    if NETWORK not in podman("network", "ls", "--format", "{{.Name}}").split():
        podman("network", "create", NETWORK)


def start(parts: dict[tuple[str, str], Resource], secrets: dict[str, dict[str, str]]) -> None:
    """Everything but the gateway, in the order in which it comes to be ready."""
    for volume in (f"{RELEASE}-data", f"{RELEASE}-results"):
        podman("volume", "create", "--opt=o=uid=10001,gid=10001", volume)
    play(pod_of(parts["StatefulSet", "postgres"], "postgres", secrets), f"{RELEASE}-postgres")
    play(pod_of(parts["Deployment", "triton-shared"], "triton", secrets), f"{RELEASE}-triton-shared")
    ready = ("exec", container_of("postgres"), "pg_isready", "-U", "imagegen")
    for _ in range(120):
        if podman(*ready, check=False).endswith("accepting connections"):
            return
        time.sleep(0.5)
    raise SystemExit("the database does not answer")


async def one_request(client: httpx.AsyncClient, seen: Counter[str], jobs: set[str]) -> None:
    """A request as docs/rest.md has clients send it: with a key, again after a connection that broke or a 5xx."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    for attempt in range(20):
        try:
            answer = await client.post("/rest_api/process_result", json=BODY, headers=key)
        except httpx.HTTPError:
            seen["connection broke, sent again"] += 1
        else:
            if answer.status_code == 200:
                body = answer.json()
                jobs.add(body["job"])
                seen[f"{body['status']}{' at first' if attempt == 0 else ' after being sent again'}"] += 1
                return
            seen[f"HTTP {answer.status_code}, sent again"] += 1
        await asyncio.sleep(min(2.0, 0.2 * 2**attempt))
    seen["FAILED"] += 1


async def load(key: str, seen: Counter[str], jobs: set[str], stop: asyncio.Event) -> None:
    """Clients that ask one after another until they are stopped."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{REST}", headers={"X-API-KEY": key}, timeout=60) as client:

        async def work() -> None:
            while not stop.is_set():
                await one_request(client, seen, jobs)

        await asyncio.gather(*(work() for _ in range(CLIENTS)))


async def lost(key: str, jobs: set[str]) -> list[str]:
    """Jobs that were answered and have no picture in the end."""
    found = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{REST}", headers={"X-API-KEY": key}, timeout=60) as client:
        for job in jobs:
            answer: dict[str, str] = {}
            async with asyncio.timeout(120):
                while answer.get("status") not in {"complete", "failed"}:
                    await asyncio.sleep(0.1)  # a client can only ask again
                    answer = (await client.get(f"/rest_api/result/{job}")).json()
            if answer["status"] != "complete" or (await client.get(answer["result_url"])).status_code != 200:
                found.append(job)
    return found


async def smoke(key: str) -> None:
    """A picture by each protocol, looked at."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{REST}", headers={"X-API-KEY": key}, timeout=60) as client:
        answer = (await client.post("/rest_api/process_result", json=BODY)).json()
        data = (await client.get(answer["result_url"])).content
    say(f"REST: {answer['status']}, {decode(data).shape}, {len(data)} bytes, deviation {decode(data).std():.0f}")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{GRPC}") as channel:
        request = pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt="a red apple", size=pb.Size(width=256))
        parts = b""
        async for event in generation_pb2_grpc.GenerationServiceStub(channel).Generate(
            request, metadata=[("x-api-key", key)]
        ):
            parts += event.artifact.data
    say(f"gRPC: {decode(parts).shape}, {len(parts)} bytes")


async def drained(parts: dict[tuple[str, str], Resource], secrets: dict[str, dict[str, str]], key: str) -> bool:
    """The first orchestrator is replaced under load; whether all went as it should."""
    seen, jobs, stop = Counter[str](), set[str](), asyncio.Event()
    working = asyncio.create_task(load(key, seen, jobs, stop))
    await asyncio.sleep(SECONDS_OF_LOAD / 4)
    second = pod_of(parts["Deployment", "orchestrator"], "orchestrator-2", secrets)
    await asyncio.to_thread(play, second, f"{RELEASE}-orchestrator", 50051, GRPC + 1)
    await asyncio.sleep(SECONDS_OF_LOAD / 4)
    started = time.monotonic()
    first = container_of("orchestrator-1")
    await asyncio.to_thread(podman, "stop", "--time=120", first)
    say(f"the first orchestrator ended {time.monotonic() - started:.1f} s after SIGTERM, under load")
    code = podman("inspect", "--format", "{{.State.ExitCode}}", first)
    await asyncio.sleep(SECONDS_OF_LOAD / 2)
    stop.set()
    await working
    gone = await lost(key, jobs)
    say(f"{len(jobs)} jobs of {CLIENTS} clients: {dict(sorted(seen.items()))}")
    say(f"exit code {code}, {seen['FAILED']} failed requests, {len(gone)} lost jobs")
    return code == "0" and not seen["FAILED"] and not gone


async def main() -> int:
    """Run all of it."""
    clear()
    parts = rendered()
    secrets = {
        each["metadata"]["name"]: each.get("stringData", {})
        | {name: base64.b64decode(value).decode() for name, value in each.get("data", {}).items()}
        for (kind, _), each in parts.items()
        if kind == "Secret"
    }
    start(parts, secrets)
    first = pod_of(parts["Deployment", "orchestrator"], "orchestrator-1", secrets)
    play(first, f"{RELEASE}-orchestrator", 50051, GRPC)
    play(pod_of(parts["Deployment", "gateway"], "gateway", secrets), f"{RELEASE}-gateway", 8080, REST)
    say(f"ready after {await until_ready(f'http://127.0.0.1:{REST}/readyz'):.0f} s")
    inside = ("exec", container_of("orchestrator-1"), "python", "-m", "orchestrator")
    podman(*inside, "accounts", "create", "trial")
    key = json.loads(podman(*inside, "keys", "create", "trial", "--json"))["key"]
    await smoke(key)
    good = await drained(parts, secrets, key)
    OUT.write_text("$ make run-chart\n" + "\n".join(lines) + "\n", "utf-8")
    if good:
        clear()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
