# The REST gateway. `make images` builds it from the repository's root.
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS packages
COPY requirements/gateway.txt requirements/tracing.txt /requirements/
RUN python -m venv --without-pip /opt/imagegen \
 && python -m pip --python /opt/imagegen/bin/python install --quiet --no-cache-dir --no-compile --no-deps \
      --require-hashes --only-binary :all: -r /requirements/gateway.txt -r /requirements/tracing.txt
COPY docker/sbom.py /sbom.py
ARG VERSION=0.1.0
RUN python /sbom.py gateway "${VERSION}" /opt/imagegen /sbom.json

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imagegen gateway" \
      org.opencontainers.image.description="REST in front of the imagegen orchestrator" \
      org.opencontainers.image.licenses="Apache-2.0 AND BSD-3-Clause AND MIT AND PSF-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/imagegen/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 IMAGEGEN_REST_ADDRESS=0.0.0.0:8080
WORKDIR /srv
COPY --from=packages /opt/imagegen /opt/imagegen
COPY LICENSE NOTICE.md /srv/
COPY --from=packages /sbom.json /usr/share/sbom/gateway.cdx.json
COPY proto/imagegen/service_config.json /srv/proto/imagegen/service_config.json
COPY imagegen /srv/imagegen
COPY common /srv/common
COPY gateway /srv/gateway
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "-m", "gateway"]
