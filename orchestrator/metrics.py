"""Prometheus metrics, named once. Counters and histograms of the process; the names are part of the interface."""

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)

REQUESTS = Counter("imagegen_requests", "Ended requests.", ["task", "family", "outcome"])
ACCOUNT_PICTURES = Counter("imagegen_account_pictures", "Generated pictures of an account.", ["account", "family"])
ACCOUNT_SECONDS = Counter(
    "imagegen_account_seconds",
    "Time that requests of an account ran, several of which share a Triton.",
    ["account", "family"],
)
ENGINE_SECONDS = Counter(
    "imagegen_engine_seconds",
    "Time that a group of Tritons worked for an account; calls that share a batch share its time by their rows.",
    ["account", "family", "engines"],
)
QUEUE_WAIT = Histogram("imagegen_queue_wait_seconds", "Time from arrival to start.", ["priority"], buckets=_FAST)
QUEUE_DEPTH = Gauge("imagegen_queue_depth", "Generate streams that wait.", ["priority"])
ENGINE_WAIT = Histogram(
    "imagegen_engine_wait_seconds",
    "Time for which a request that runs waited for its turn before a network call.",
    buckets=(0.0001, *_FAST),
)
IN_FLIGHT = Gauge("imagegen_in_flight", "Generate streams that run.")
JOBS = Gauge("imagegen_jobs", "Durable jobs in the database, as every server sees them.", ["state"])
BACKLOG = Gauge("imagegen_backlog_seconds", "Estimated wait for the start of a new durable job; 0: none.")
JOB_BACKLOG = Gauge(
    "imagegen_job_backlog_seconds",
    "Time that all waiting durable jobs of a family need, one after another; every server reports the same.",
    ["family"],
)
ENGINE_REQUESTS = Gauge(
    "imagegen_engine_requests", "Requests of a family in this process that a Triton works for.", ["family"]
)
ENGINE_BACKLOG = Gauge(
    "imagegen_engine_backlog_seconds",
    "Time that the requests of a family in this process that wait for a Triton need, one after another.",
    ["family"],
)
STREAM_BACKLOG = Gauge(
    "imagegen_stream_backlog_seconds",
    "Time that the waiting Generate streams of a family in this process need, one after another.",
    ["family"],
)
RUNNING = Gauge("imagegen_running", "Durable jobs and Generate streams of a family that this process runs.", ["family"])
LONGEST_ATTEMPT = Gauge("imagegen_longest_attempt_seconds", "Age of the oldest running attempt at a job.")
ATTEMPTS_STOPPED = Counter(
    "imagegen_attempts_stopped",
    "Attempts that did not end by themselves: overrun (too long), lost (lease), stuck (ignored their cancellation).",
    ["reason"],
)
RECLAIMED = Counter(
    "imagegen_jobs_reclaimed",
    "Jobs put back into the queue because their process stopped renewing the lease: crashed or unresponsive.",
    ["cause"],
)
JOB_BYTES = Gauge("imagegen_job_bytes", "Bytes of pictures that came with durable jobs that wait or run.")
HELD_BYTES = Gauge("imagegen_held_bytes", "Bytes of pictures that came with requests that wait or run.")
PICTURE_MEMORY = Gauge(
    "imagegen_picture_memory_bytes", "Memory that jobs have taken for pictures: fetched or working.", ["use"]
)
DECODED = Counter(
    "imagegen_decoded_files",
    "Clients' files that were measured or decoded: done, refused, crashed, timed_out or out_of_memory.",
    ["outcome"],
)
WEBHOOKS = Counter("imagegen_webhooks", "Tries to deliver a webhook: delivered, retried or failed.", ["outcome"])
STAGE = Histogram("imagegen_stage_seconds", "Wall time of a stage.", ["family", "stage"], buckets=_FAST)
STEPS = Counter("imagegen_denoising_steps", "Denoising steps done.", ["family", "sampler"])
SKIPPED = Counter("imagegen_skipped_steps", "Denoising steps that were extrapolated in place of computed.", ["family"])
STEP = Histogram("imagegen_denoising_step_seconds", "Wall time of one denoising step.", ["family"], buckets=_FAST)
EMBEDDINGS = Counter(
    "imagegen_text_embeddings", "Rows of text encoders, by where they came from: hit, kept ones, or miss.", ["source"]
)
EMBEDDING_BYTES = Gauge("imagegen_text_embedding_bytes", "Bytes of kept answers of text encoders.")
NSFW_SCORE = Histogram(
    "imagegen_nsfw_score",
    "Probability that a picture shows pornography, by what it is: result or input.",
    ["picture"],
    buckets=(0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1),
)
FILTERED = Counter("imagegen_filtered", "Pictures that the safety filter stopped: result or input.", ["picture"])
TRITON_BATCHES = Gauge(
    "imagegen_triton_batch_executions",
    "Executions of a Triton model by the number of rows that shared the batch, since Triton's start.",
    ["model", "rows"],
)
NETWORK_SECONDS = Gauge(
    "imagegen_network_seconds",
    "Measured seconds of a call of a model in one Triton, by the shape of its first input and rows: a running median.",
    ["endpoint", "model", "shape", "rows"],
)
TRITON_ERRORS = Counter("imagegen_triton_errors", "Calls of Triton that failed.", ["model", "kind"])
RESULTS_BROKEN = Counter(
    "imagegen_results_broken", "Reads of stored pictures that were corrupt, or missing before they expired.", ["kind"]
)
RESULTS_STORED = Gauge("imagegen_results_stored_bytes", "Bytes of stored pictures that have not expired.")
RESULTS_WAITING = Gauge("imagegen_results_waiting_bytes", "Bytes of finished pictures that wait for the result store.")
TRITON_SERVES = Gauge("imagegen_triton_serves", "1 if the model in this Triton infers.", ["endpoint", "model"])
TRITON_EJECTIONS = Counter("imagegen_triton_ejections", "Times that a model was taken out of use.", ["model"])
FAMILY_READY = Gauge("imagegen_family_ready", "1 if all networks of the family are ready.", ["family"])
RPC = Histogram("imagegen_rpc_seconds", "Wall time of a gRPC call.", ["method", "code"], buckets=_FAST)
TLS_EXPIRY = Gauge(
    "imagegen_tls_certificate_expiry_timestamp_seconds",
    "When the gRPC server's certificate ends, since 1970; 0: no TLS.",
)
TLS_RELOADS = Counter("imagegen_tls_reloads", "Changed certificate files that were read: done or failed.", ["outcome"])
