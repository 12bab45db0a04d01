#!/usr/bin/env bash
# Compares the protos with those of main (origin's, where this is a branch's clone).
set -euo pipefail
cd "$(dirname "$0")/.."
for base in origin/main main; do
  if git cat-file -e "$base:protos/productsearch/v1/product_search.proto" 2>/dev/null; then
    rm -rf build/main && mkdir -p build/main/build
    git archive "$base" protos buf.yaml | tar -x -C build/main
    cp -r build/imports build/main/build/
    .venv/bin/buf breaking --against build/main
    echo "no breaking change against $base"
    exit 0
  fi
done
echo "no main to compare with" >&2
exit 1
