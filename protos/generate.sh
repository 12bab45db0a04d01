#!/usr/bin/env bash
# Writes the generated files of a client, $2 (python or go; python if left out), into the
# directory $1, laid out as in clients/$2. Run by `make generate`; needs the environment of
# protos/requirements.lock in .venv-generate, and for go a Go toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
language=${2:-python}
bin=.venv-generate/bin
imports=$("$bin/python" -c 'import google.rpc, os; print(os.path.dirname(os.path.dirname(google.rpc.__path__[0])))')
protoc() {
  "$bin/python" -m grpc_tools.protoc -I protos -I "$imports" "$@"
}

case $language in
python)
  package=$out/productsearch/v1
  mkdir -p "$package"
  protoc --plugin=protoc-gen-mypy="$bin/protoc-gen-mypy" \
    --python_out="$out" --mypy_out=quiet:"$out" protos/productsearch/v1/*.proto
  protoc --plugin=protoc-gen-mypy_grpc="$bin/protoc-gen-mypy_grpc" \
    --grpc_python_out="$out" --mypy_grpc_out=quiet:"$out" \
    protos/productsearch/v1/product_search.proto
  ;;
go)
  package=$out/productsearch
  mkdir -p "$package"
  tools=$PWD/build/go-tools
  GOBIN=$tools go -C protos/go-tools install tool
  module=module=github.com/productsearch/productsearch/clients/go
  protoc --plugin=protoc-gen-go="$tools/protoc-gen-go" \
    --plugin=protoc-gen-go-grpc="$tools/protoc-gen-go-grpc" \
    --go_out="$out" --go_opt="$module" --go-grpc_out="$out" --go-grpc_opt="$module" \
    protos/productsearch/v1/*.proto
  ;;
*)
  echo "no such client: $language; use python or go" >&2
  exit 2
  ;;
esac
cp protos/productsearch/v1/product_search_grpc_service_config.json "$package/"
