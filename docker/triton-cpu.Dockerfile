# Triton without a GPU: the server of the nvidia-pytriton wheel, models run by OpenVINO in its Python backend.
# Models come from a volume at /models. `make images` builds it from the repository's root.
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS packages
COPY requirements/triton.txt /requirements.txt
RUN python -m venv --without-pip /opt/triton \
 && python -m pip --python /opt/triton/bin/python install --quiet --no-cache-dir --no-compile --no-deps \
      --require-hashes --only-binary :all: -r /requirements.txt \
 && chmod 0755 /opt/triton/lib/python3*/site-packages/pytriton/tritonserver/bin/tritonserver
COPY docker/sbom.py /sbom.py
ARG VERSION=0.1.0
RUN python /sbom.py triton-cpu "${VERSION}" /opt/triton /sbom.json

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imagegen Triton for CPUs" \
      org.opencontainers.image.description="NVIDIA Triton Inference Server with OpenVINO models in its Python backend" \
      org.opencontainers.image.licenses="Apache-2.0 AND BSD-3-Clause AND PSF-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/triton/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    IMAGEGEN_STATE_DIR=/tmp/imagegen IMAGEGEN_MODEL_REPOSITORIES=/models
WORKDIR /srv
COPY --from=packages /opt/triton /opt/triton
COPY LICENSE NOTICE.md /srv/
COPY --from=packages /sbom.json /usr/share/sbom/triton-cpu.cdx.json
COPY engines /srv/engines
COPY local /srv/local
USER 10001:10001
EXPOSE 8001 8002
ENTRYPOINT ["python", "-m", "local.serve_triton"]
