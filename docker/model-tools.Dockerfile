# model_tools: training, export, evaluation; with torch, and so large: `python -m local.images model-tools` builds it.
#   podman run --rm -v ./models:/models localhost/imagegen/model-tools:0.1.0 model_tools engines /models/sd15_unet
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS packages
# A folder of wheels, mounted, where torch is not in the index.
ARG PIP_FIND_LINKS
COPY requirements/tools.txt requirements/torch-cpu.txt requirements/torch-cuda.txt /requirements/
RUN python -m venv --without-pip /opt/tools \
 && pip() { python -m pip --python /opt/tools/bin/python install --quiet --no-cache-dir --no-compile --no-deps \
      --require-hashes --only-binary :all: "$@"; } \
 && { pip -r /requirements/torch-cpu.txt 2> /dev/null || pip -r /requirements/torch-cuda.txt; } \
 && pip -r /requirements/tools.txt
COPY docker/sbom.py /sbom.py
ARG VERSION=0.1.0
RUN python /sbom.py model-tools "${VERSION}" /opt/tools /sbom.json

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imagegen model tools" \
      org.opencontainers.image.licenses="Apache-2.0 AND BSD-3-Clause AND LGPL-2.1-or-later AND MIT AND MIT-CMU AND MPL-2.0 AND PSF-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/tools/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv
COPY --from=packages /opt/tools /opt/tools
COPY LICENSE NOTICE.md /srv/
COPY --from=packages /sbom.json /usr/share/sbom/model-tools.cdx.json
COPY engines /srv/engines
COPY common /srv/common
COPY orchestrator /srv/orchestrator
COPY model_tools /srv/model_tools
USER 10001:10001
ENTRYPOINT ["python", "-m"]
CMD ["model_tools", "engines", "--help"]
