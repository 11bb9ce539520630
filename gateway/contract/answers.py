"""The documented answers as pydantic models. Extra keys are allowed by the contract; new status words are not."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from imagegen.v1 import generation_pb2 as pb

Status = Literal["received", "not_started", "in_progress", "complete"]


class JobAnswer(BaseModel):
    """State of a job that has not failed. HTTP 200, for pending and done alike.

    Attributes:
        status: the documented word.
        job: the job's id, for GET and DELETE /rest_api/result/{job}.
        result_url: where the picture is; set when complete.
        queue: jobs that start before this one, from 0; set while it waits.
        seed: what gives this picture again as sample_num.
        steps: denoising steps that ran.
        width: of the picture, pixels.
        height: of the picture, pixels.
        model_type: family that generated it.
        sampler: sampler that ran, such as "euler"; absent where nothing was painted.
        output_format: jpeg, png or webp.
        file_size: of the picture, bytes.
        quality: of a jpeg or webp, 0 to 100, after max_file_size had its say.
        timings: wall time of each stage by name (prepare, encode, denoise, decode, finish), seconds.
        request_id: the request's id in the logs.
        results: every picture, this one first; set where more than one was asked for (imagegen.n).
        skipped_steps: of the steps, those that were extrapolated (imagegen.skip_tolerance), where any might be.
        nsfw_score: 0 to 1, of the safety filter, where it was asked for.
        filtered: true where nsfw_image_url took the place of the picture.
        warnings: known fields of the request that its task does not use; absent without one.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"status": "received", "job": "5r3kM0m0Jt4hQ2d1Yv8ZsA", "queue": 0},
                {
                    "status": "complete",
                    "job": "5r3kM0m0Jt4hQ2d1Yv8ZsA",
                    "result_url": "https://pictures.example/results/Vh3b0q6mJt4hQ2d1Yv8ZsA.png",
                    "seed": 7,
                    "steps": 25,
                    "width": 2048,
                    "height": 1024,
                    "model_type": "fantasy",
                    "sampler": "euler",
                    "output_format": "png",
                    "file_size": 351002,
                    "timings": {"encode": 0.01, "denoise": 0.8, "decode": 0.01, "finish": 0.15},
                },
            ]
        }
    )

    status: Status
    job: str
    result_url: str | None = None
    queue: int | None = None
    seed: int | None = None
    steps: int | None = None
    width: int | None = None
    height: int | None = None
    model_type: str | None = None
    sampler: str | None = None
    output_format: str | None = None
    file_size: int | None = None
    quality: int | None = None
    timings: dict[str, float] | None = None
    request_id: str | None = None
    results: list["JobAnswer"] | None = None
    skipped_steps: int | None = None
    nsfw_score: float | None = None
    filtered: bool | None = None
    warnings: list[str] | None = None


class MessageAnswer(BaseModel):
    """Something happened, in words.

    Attributes:
        message: the words.
    """

    message: str


class MarksAnswer(BaseModel):
    """How pictures are marked as generated. The operator decides.

    Attributes:
        xmp: whether files state their origin in XMP, by IPTC's digital source type.
        c2pa: whether files have a signed C2PA manifest.
        invisible: whether pictures carry an invisible mark.
    """

    xmp: bool
    c2pa: bool
    invisible: bool

    @classmethod
    def of(cls, marks: pb.Marks) -> "MarksAnswer":
        """Turn the message into JSON."""
        return cls(xmp=marks.xmp, c2pa=marks.c2pa, invisible=marks.invisible)


class ErrorAnswer(BaseModel):
    """Any error. Flat, never nested.

    Attributes:
        message: what is wrong, for a reader.
        code: for a program; absent where the documents have none.
    """

    message: str
    code: str | None = None


class FailedAnswer(BaseModel):
    """A job that ended without a picture. HTTP 500; process_result has a 400 and a 503 of this kind, which have a code.

    Attributes:
        message: why.
        status: the word.
        job: the job's id.
        code: for a program.
    """

    message: str
    code: str | None = None
    status: Literal["failed"]
    job: str


class HealthAnswer(BaseModel):
    """Answer of the probes.

    Attributes:
        status: the word.
    """

    status: Literal["ok", "ready"]
