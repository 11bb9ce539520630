# A stand-in for the image of PostgreSQL, of Debian's package, on a machine that reaches no registry of images. It takes the
# variables POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and PGDATA as that one does. For `make run-chart`.
ARG PYTHON=python:3.12-slim
FROM ${PYTHON}
LABEL org.opencontainers.image.licenses="PostgreSQL" \
      org.opencontainers.image.revision="stand-in"
# hadolint ignore=DL3008
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql > /dev/null \
 && rm -rf /var/lib/apt/lists/* && mkdir -p /data && chmod 1777 /data /var/run/postgresql
ENV PATH=/usr/lib/postgresql/15/bin:$PATH
COPY --chmod=0755 docker/stand-in-postgres.sh /entrypoint.sh
USER 10001:10001
ENTRYPOINT ["/entrypoint.sh"]
