"""Names of params and jobs, and their numbers in the schema."""

from collections.abc import Mapping
from typing import TypeVar

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.diffusion.stages import Stage
from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.generation.job import JobState
from orchestrator.params import (
    CropGravity,
    Delivery,
    EnhancementKind,
    EnhancementMethod,
    Enlargement,
    Fit,
    GuidanceMethod,
    HorizontalPlace,
    ImageFormat,
    Metadata,
    Priority,
    Removal,
    SamplerName,
    VerticalPlace,
)
from orchestrator.webhooks.message import Event

Name = TypeVar("Name", bound=str)
Number = TypeVar("Number", bound=int)

SAMPLERS = {name: pb.Sampler.Value(f"SAMPLER_{name.name}") for name in SamplerName}
GUIDANCE_METHODS = {name: pb.GuidanceMethod.Value(f"GUIDANCE_METHOD_{name.name}") for name in GuidanceMethod}
FORMATS = {name: pb.ImageFormat.Value(f"IMAGE_FORMAT_{name.name}") for name in ImageFormat}
DELIVERIES = {name: pb.Delivery.Value(f"DELIVERY_{name.name}") for name in Delivery}
METADATA = {name: pb.Metadata.Value(f"METADATA_{name.name}") for name in Metadata}
PRIORITIES = {name: pb.Priority.Value(f"PRIORITY_{name.name}") for name in Priority}
FITS = {name: pb.Fit.Value(f"FIT_{name.name}") for name in Fit}
GRAVITIES = {name: pb.CropGravity.Value(f"CROP_GRAVITY_{name.name}") for name in CropGravity}
REMOVALS = {name: pb.Removal.Value(f"REMOVAL_{name.name}") for name in Removal}
KINDS = {name: pb.EnhancementKind.Value(f"ENHANCEMENT_KIND_{name.name}") for name in EnhancementKind}
METHODS = {name: pb.EnhancementMethod.Value(f"ENHANCEMENT_METHOD_{name.name}") for name in EnhancementMethod}
HORIZONTAL = {name: pb.HorizontalPlace.Value(f"HORIZONTAL_PLACE_{name.name}") for name in HorizontalPlace}
VERTICAL = {name: pb.VerticalPlace.Value(f"VERTICAL_PLACE_{name.name}") for name in VerticalPlace}
ENLARGEMENTS = {name: pb.Enlargement.Value(f"ENLARGEMENT_{name.name}") for name in Enlargement}
STAGES = {name: pb.Stage.Value(f"STAGE_{name.name}") for name in Stage}
EVENTS = {name: jobs_pb2.WebhookEvent.Value(f"WEBHOOK_EVENT_{name.name}") for name in Event}
STATES = {name: jobs_pb2.JobState.Value(f"JOB_STATE_{name.name}") for name in JobState}


def choice(table: Mapping[Name, Number], number: Number, field: str) -> Name | None:
    """The name of an enum's number; None for 0, which is "not chosen" in every enum of the schema.

    Raises:
        InvalidRequestError: the enum has no such number.
    """
    if number == 0:
        return None
    for name, value in table.items():
        if value == number:
            return name
    raise InvalidRequestError(Violation(field, f"{int(number)} is not a value of this enum"))
