"""Traces: spans of this process, sent to an OpenTelemetry collector. Off, and without the SDK, until `start`.

A trace goes from program to program in W3C's headers `traceparent` and `tracestate` (Trace Context, W3C Recommendation
2021), here a dictionary. Which requests are recorded follows from the trace id alone, at the rate that each program is
given: a client that asks for its request to be recorded is recorded at that rate, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TraceState, get_current_span, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from common.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Headers = Mapping[str, str]
Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int | float | bool

HEADERS = ("traceparent", "tracestate")
FLUSH_MILLISECONDS = 5000
"""Longest time for what is left when the process ends."""

_PROPAGATOR = TraceContextTextMapPropagator()
_provider: TracerProvider | None = None


def start(service: str, endpoint: str | None, ratio: float, version: str) -> None:
    """Record spans from now on, if there is an endpoint.

    Args:
        service: name of this program.
        endpoint: URL of a collector that takes OTLP over gRPC; None: nothing is recorded.
        ratio: share of the traces that are recorded.
        version: of the program.

    Raises:
        SettingsError: the packages of requirements/tracing.txt are not installed.
    """
    global _provider  # noqa: PLW0603 - one for the process, as its log
    if endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the SDK, only when on
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the SDK, only when on
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the SDK, only when on
        from opentelemetry.sdk.trace.sampling import Decision, ParentBased, SamplingResult, TraceIdRatioBased  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(
            "IMAGEGEN_OTLP_ENDPOINT needs OpenTelemetry: pip install -r requirements/tracing.txt"
        ) from error

    class Linked(TraceIdRatioBased):
        """A trace that another led to is recorded where that one is."""

        def should_sample(
            self,
            parent_context: Context | None,
            trace_id: int,
            name: str,
            kind: SpanKind | None = None,
            attributes: Mapping[str, AttributeValue] | None = None,
            links: Sequence[Link] | None = None,
            trace_state: TraceState | None = None,
        ) -> SamplingResult:
            if not links:
                return super().should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
            is_recorded = links[0].context.trace_flags.sampled
            return SamplingResult(Decision.RECORD_AND_SAMPLE if is_recorded else Decision.DROP, attributes)

    by_id = Linked(ratio)
    _provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.version": version}),
        sampler=ParentBased(root=by_id, remote_parent_sampled=by_id),
        shutdown_on_exit=False,
    )
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))


def stop() -> None:
    """Send what is left, and record nothing more."""
    global _provider  # noqa: PLW0603 - as above
    if _provider is not None:
        _provider.force_flush(FLUSH_MILLISECONDS)
        _provider.shutdown()
        _provider = None


@contextmanager
def span(
    name: str,
    kind: Kind = "internal",
    *,
    parent: Headers | None = None,
    link: Headers | None = None,
    attributes: Mapping[str, Value] | None = None,
) -> Iterator[Span | None]:
    """Record what runs inside as a span; None where nothing is recorded.

    Args:
        name: what it does, one of few: no ids.
        kind: of the span.
        parent: headers of another program, or of an earlier time; without it the current span is the parent.
        link: headers of the trace that led to this one, which is a trace of its own.
        attributes: facts about it.
    """
    if _provider is None:
        yield None
        return
    linked = get_current_span(_context(link)).get_span_context() if link else None
    context = _context(parent) if parent is not None else Context() if link is not None else None
    recorded = _provider.get_tracer("imagegen").start_span(
        name,
        context=context,
        kind=SpanKind[kind.upper()],
        links=[Link(linked)] if linked is not None and linked.is_valid else [],
        attributes=attributes,
    )
    with use_span(recorded, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield recorded
        except Exception as error:
            recorded.set_status(Status(StatusCode.ERROR, type(error).__name__))  # its words may be a client's
            raise


@contextmanager
def child(
    name: str, kind: Kind = "internal", *, attributes: Mapping[str, Value] | None = None
) -> Iterator[Span | None]:
    """Record what runs inside as a part of the current span; None where that is not recorded, or there is none."""
    if trace_id() is None:
        yield None
        return
    with span(name, kind, attributes=attributes) as recorded:
        yield recorded


def event(name: str, attributes: Mapping[str, Value]) -> None:
    """Note something that happened in the current span."""
    if _provider is not None:
        get_current_span().add_event(name, attributes)


def headers() -> dict[str, str]:
    """The current span for another program; empty where traces are off."""
    carrier: dict[str, str] = {}
    if _provider is not None:
        _PROPAGATOR.inject(carrier)
    return carrier


def text() -> str | None:
    """The current span in one line, for `parse`; None where nothing is recorded."""
    return headers().get("traceparent")


def parse(line: str | None) -> Headers | None:
    """The headers of a span that `text` gave."""
    return None if line is None else {"traceparent": line}


def chosen(metadata: Sequence[tuple[str, str]] | Mapping[str, str]) -> dict[str, str]:
    """The headers of a trace among others."""
    return {name: value for name, value in dict(metadata).items() if name in HEADERS}


def trace_id() -> str | None:
    """The current trace's id, 32 hexadecimal digits, if it is recorded."""
    if _provider is None:
        return None

    context = get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.trace_flags.sampled else None


def exemplar() -> dict[str, str] | None:
    """The current trace as an exemplar of a Prometheus histogram; None if it is not recorded."""
    found = trace_id()
    return None if found is None else {"trace_id": found}


def _context(carrier: Headers) -> Context:
    return _PROPAGATOR.extract(carrier, context=Context())
