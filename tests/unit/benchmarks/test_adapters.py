"""The adapters' table."""

from benchmarks import adapters
from benchmarks.adapters import AdapterRow
from imagegen.v1 import generation_pb2 as pb


def row(prepare: float) -> AdapterRow:
    return AdapterRow(adapter="face", size="8 x 8", images=1, seconds={"prepare": prepare, "denoise": 1.0})


def test_every_task_of_the_schema_has_a_line() -> None:
    named = {request.WhichOneof("task") for request in adapters.cases().values()}
    assert named == {field.name for field in pb.GenerateRequest.DESCRIPTOR.oneofs_by_name["task"].fields}


def test_the_share_of_preparing_is_of_all_stages() -> None:
    assert row(0.25).preparing == 0.2
    assert AdapterRow(adapter="text", size="", images=1, seconds={"denoise": 1.0}).preparing == 0.0


def test_the_goal_is_under_five_percent() -> None:
    assert "- met: preparing" in adapters.report([row(0.05)])
    assert "- MISSED by face: preparing" in adapters.report([row(0.06), row(0.01)])
    assert "| face | 8 x 8 | 1.060 | 0.060 | - | 1.000 | - | - | 5.7% |" in adapters.report([row(0.06)])
