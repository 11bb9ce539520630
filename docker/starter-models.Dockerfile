# The starter's models, as data: an init container copies them into the volume that Triton reads, and checks their hashes.
ARG PYTHON=python:3.12-slim
FROM ${PYTHON} AS packages
COPY docker/sbom.py /sbom.py
ARG VERSION=0.1.0
RUN python /sbom.py starter-models "${VERSION}" /nothing /sbom.json

FROM ${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imagegen starter models" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT AND PSF-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE NOTICE.md /srv/
COPY --chmod=0644 local/copy_models.py /srv/copy_models.py
COPY model_repository /models
COPY --from=packages /sbom.json /usr/share/sbom/starter-models.cdx.json
COPY docker/build/models.sha256 /srv/models.sha256
USER 10001:10001
ENTRYPOINT ["python", "/srv/copy_models.py", "/models", "/srv/models.sha256"]
CMD ["/target"]
