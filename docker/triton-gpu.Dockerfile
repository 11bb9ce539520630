# Triton on GPUs: NVIDIA's own image, and nothing added but who it runs as and how it is started. Models and engines come
# from a volume at /models. It could not be built or run on the machines of this project: no such image, no GPU.
# The chart starts it with shared memory, traces and log settings closed; whoever starts it otherwise closes them too
# (docs/security.md, Triton).
# TRITON is NVIDIA's Triton Inference Server image of your registry, with the TensorRT that built the engines.
ARG TRITON
FROM ${TRITON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imagegen Triton for GPUs" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE NOTICE.md /srv/
USER 10001:10001
EXPOSE 8001 8002
ENTRYPOINT ["tritonserver", "--model-repository=/models", "--disable-auto-complete-config", "--exit-on-error=false", \
            "--strict-readiness=false", "--http-address=127.0.0.1"]
