# The orchestrator, and its command line (migrate, accounts, keys). `make images` builds it from the repository's root.
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS packages
COPY requirements/service.txt requirements/c2pa.txt requirements/tracing.txt /requirements/
RUN python -m venv --without-pip /opt/imagegen \
 && python -m pip --python /opt/imagegen/bin/python install --quiet --no-cache-dir --no-compile --no-deps \
      --require-hashes --only-binary :all: -r /requirements/service.txt -r /requirements/c2pa.txt \
      -r /requirements/tracing.txt \
 && rm /opt/imagegen/lib/python*/site-packages/c2pa/libs/*.rlib  # 31 MB for programs in Rust
COPY docker/sbom.py /sbom.py
ARG VERSION=0.1.0
RUN python /sbom.py orchestrator "${VERSION}" /opt/imagegen /sbom.json

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imagegen orchestrator" \
      org.opencontainers.image.description="gRPC service that generates pictures with models in Triton" \
      org.opencontainers.image.licenses="Apache-2.0 AND BSD-3-Clause AND LGPL-2.1-or-later AND LGPL-3.0-only AND LGPL-3.0-or-later AND MIT AND MIT-CMU AND MPL-2.0 AND PSF-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/imagegen/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    IMAGEGEN_FAMILIES=/srv/families/families.toml IMAGEGEN_GRPC_ADDRESS=0.0.0.0:50051 IMAGEGEN_METRICS_ADDRESS=0.0.0.0:9090
WORKDIR /srv
COPY --from=packages /opt/imagegen /opt/imagegen
COPY LICENSE NOTICE.md /srv/
COPY --from=packages /sbom.json /usr/share/sbom/orchestrator.cdx.json
COPY families /srv/families
COPY imagegen /srv/imagegen
COPY common /srv/common
COPY orchestrator /srv/orchestrator
USER 10001:10001
EXPOSE 50051 9090
ENTRYPOINT ["python", "-m", "orchestrator"]
