# model_tools: training, export, evaluation; with torch, and so large. Not built by `make images`.
ARG PYTHON=python:3.11-slim
FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imagegen model tools" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/tools/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv
COPY requirements/tools.txt /requirements.txt
RUN python -m venv --without-pip /opt/tools \
 && python -m pip --python /opt/tools/bin/python install --quiet --no-cache-dir torch==2.13.0 \
 && python -m pip --python /opt/tools/bin/python install --quiet --no-cache-dir --no-deps -r /requirements.txt
COPY LICENSE NOTICE.md /srv/
COPY engines /srv/engines
COPY orchestrator /srv/orchestrator
COPY model_tools /srv/model_tools
USER 10001:10001
ENTRYPOINT ["python", "-m", "model_tools"]
