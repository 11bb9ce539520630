"""A client that openapi-python-client generates from our own description runs the README's example."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx

from local import stack
from local.settings import ROOT, Settings
from tests.integration.pictures import decode

EXAMPLE = re.compile(r"--url \S+/rest_api/process_result \\\n.*?--data '(\{.*?\n {5}\})'", re.DOTALL)
PROGRAM = """
import json, sys, time
from generated import AuthenticatedClient
from generated.api.pictures import delete_result, get_result, process, process_result
from generated.api.service import get_me
from generated.models import ProcessRequest

url, key = sys.argv[1:]
client = AuthenticatedClient(url, token=key, prefix="", auth_header_name="X-API-KEY", timeout=60)
asked = ProcessRequest.from_dict(json.load(sys.stdin))
made = process_result.sync(client=client, body=asked)
while made.status == "in_progress":  # a busy machine
    time.sleep(0.5)
    made = get_result.sync(made.job, client=client)
fetched = get_result.sync(made.job, client=client)
assert fetched == made, (fetched, made)
queued = process.sync(client=client, body=asked)
assert queued.status == "received", queued
wrong = process_result.sync_detailed(client=client, body=ProcessRequest.from_dict({"quality": 101, "url": "https://a.example/"}))
assert wrong.status_code == 400 and wrong.parsed.code == "BAD_REQUEST", wrong
assert get_me.sync(client=client).username
print(json.dumps(made.to_dict()))
"""


def test_a_generated_client_runs_the_example_of_the_readme(starter: Settings, tmp_path: Path) -> None:
    found = EXAMPLE.search((ROOT / "README.md").read_text("utf-8"))
    assert found is not None
    example = json.loads(found[1])
    (tmp_path / "openapi.json").write_text(httpx.get(f"{starter.rest_url}/openapi.json").text, "utf-8")
    program = Path(sys.executable).parent / "openapi-python-client"
    generate = ["generate", "--path", "openapi.json", "--meta", "none", "--output-path", "generated"]
    run([str(program), *generate], tmp_path, "")
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")
    said = run([sys.executable, "program.py", starter.rest_url, stack.read_api_key(starter)], tmp_path, found[1])
    made = json.loads(said)
    assert (made["status"], made["width"], made["height"]) == ("complete", example["width"], example["height"])
    assert made["seed"] == example["background"]["generate"]["sample_num"]
    picture = decode(httpx.get(made["result_url"]).raise_for_status().content)
    assert picture.shape[:2] == (example["height"], example["width"])


def run(command: list[str], folder: Path, text: str) -> str:
    """What a program says; it must end well."""
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}  # the generator formats by ruff
    done = subprocess.run(  # noqa: S603 - programs of our own environment
        command, cwd=folder, input=text, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
