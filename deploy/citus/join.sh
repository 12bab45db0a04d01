#!/bin/bash
# Adds workers to the coordinator; may be repeated. join COORDINATOR WORKER...
set -euo pipefail
coordinator=$1
shift
run() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --host "$coordinator" "$@"; }
run --set host="$coordinator" <<<"select citus_set_coordinator_host(:'host', 5432);"
for worker in "$@"; do
  until pg_isready --quiet --host "$worker"; do sleep 1; done
  run --set host="$worker" <<<"select citus_add_node(:'host', 5432);"
done
