#!/usr/bin/env bash
# Make the database if it is not there, and serve it.
set -euo pipefail
export HOME=/tmp
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s' "$POSTGRES_PASSWORD") --auth=scram-sha-256 --encoding=UTF8 > /dev/null
  printf "listen_addresses = '*'\nunix_socket_directories = '/tmp'\n" >> "$PGDATA/postgresql.conf"
  printf 'host all all all scram-sha-256\nlocal all all trust\n' > "$PGDATA/pg_hba.conf"
  pg_ctl start --silent --wait --options="-c listen_addresses=''" > /dev/null
  createdb --host=/tmp --username="$POSTGRES_USER" "$POSTGRES_DB" || true
  pg_ctl stop --silent --wait > /dev/null
fi
exec postgres
