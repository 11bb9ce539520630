"""Which of a family's control kinds steers a task."""

from orchestrator.errors import InvalidRequestError, UnsupportedTaskError, Violation
from orchestrator.models.families import Family
from orchestrator.models.tables import EDGE_KINDS
from orchestrator.params import Control, EdgesParams, Edit, FaceSwap, Task, TextToImage, Upscale

SHOWN = 64
"""Characters of a client's word that an error repeats."""


def edges_of(task: Task) -> EdgesParams | None:
    """How edges steer a task; None for not at all."""
    return None if isinstance(task, (TextToImage, Upscale, Edit, FaceSwap)) else task.edges


def control_kind(task: Task, family: Family) -> int:
    """Index of the kind that steers, in the family's control_kinds; 0 where nothing does.

    Raises:
        InvalidRequestError: the family has no control kind of the name that is asked for, or a field is set that has no
            meaning with this kind.
        UnsupportedTaskError: edges are to steer, and the family has no control kind for them.
    """
    table = family.networks
    if isinstance(task, Control):
        name = task.control_kind or _default(table.control_kinds, "scribble" if task.edges_only else "canny")
        if name not in table.control_kinds:
            known = ", ".join(table.control_kinds)
            wrong = f"{name[:SHOWN]!r} is not a control kind of family {family.name} ({known})"
            raise InvalidRequestError(Violation("control.control_kind", wrong))
        _check_fields(task, name)
        return table.control_kinds.index(name)
    if edges_of(task) is None:
        return 0
    if "edges" not in family.abilities or table.edge_kind is None:
        raise UnsupportedTaskError(f"family {family.name} has no network that edges can steer")
    return table.edge_kind


def is_client_supplied(kind: str) -> bool:
    """Whether pictures of a control kind come from the client as they are: none are computed here."""
    return kind not in EDGE_KINDS


def starts_from_noise(task: Control, family: Family, kind: int) -> bool:
    """Whether a control picture is all that a task takes of the client's: a drawing, or one that is taken as it is."""
    return task.edges_only or is_client_supplied(family.networks.control_kinds[kind])


def _default(kinds: tuple[str, ...], wanted: str) -> str:
    return wanted if wanted in kinds else kinds[0]


def _check_fields(task: Control, kind: str) -> None:
    if not is_client_supplied(kind):
        return
    given = {"strength": task.strength, "edges.low_threshold": task.edges.low_threshold}
    wrong = f"cannot be set with control kind {kind!r}, whose picture is used unchanged"
    violations = [Violation(f"control.{name}", wrong) for name, value in given.items() if value is not None]
    if violations:
        raise InvalidRequestError(*violations)
