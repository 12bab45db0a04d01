#!/usr/bin/env bash
# Writes the lock files: names, versions and hashes, no addresses. Run by `make lock`.
set -euo pipefail
cd "$(dirname "$0")"
python3 -m venv build/uv
build/uv/bin/python -m pip install --quiet uv
resolve() {
  build/uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
    --generate-hashes --no-header --no-emit-package productsearch-client "$@"
}
resolve clients/python/pyproject.toml --all-extras service/pyproject.toml engine/pyproject.toml \
  --group dev -o requirements-dev.lock
# What `make demo` and `make run` need, and what builds it: the same versions as above.
resolve clients/python/pyproject.toml --extra cli --extra images service/pyproject.toml \
  engine/pyproject.toml --group build --constraint requirements-dev.lock -o requirements-run.lock
# The images can send traces.
resolve service/pyproject.toml --extra traces -o service/requirements.lock
resolve engine/pyproject.toml --extra traces -o engine/requirements.lock
resolve --group build -o requirements-build.lock
resolve --group generate -o protos/requirements.lock
