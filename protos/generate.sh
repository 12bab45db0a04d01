#!/usr/bin/env bash
# Writes the Python client's generated files into the directory $1, laid out as in clients/python.
# Run by `make generate`; needs the environment of protos/requirements.lock in .venv-generate.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
bin=.venv-generate/bin
imports=$("$bin/python" -c 'import google.rpc, os; print(os.path.dirname(os.path.dirname(google.rpc.__path__[0])))')
mkdir -p "$out/productsearch/v1"
protoc() {
  "$bin/python" -m grpc_tools.protoc -I protos -I "$imports" \
    --plugin=protoc-gen-mypy="$bin/protoc-gen-mypy" \
    --plugin=protoc-gen-mypy_grpc="$bin/protoc-gen-mypy_grpc" "$@"
}
protoc --python_out="$out" --mypy_out=quiet:"$out" protos/productsearch/v1/*.proto
protoc --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" protos/productsearch/v1/product_search.proto
cp protos/productsearch/v1/product_search_grpc_service_config.json "$out/productsearch/v1/"
