#!/bin/sh
# Creates a library in the engine and keeps its key pair: key-pair.sh LIBRARY FOLDER
# Where there is a key pair already, nothing is made.
set -eu
library=${1:?usage: key-pair.sh LIBRARY FOLDER}
folder=${2:?usage: key-pair.sh LIBRARY FOLDER}
[ ! -e "$folder/secret_key" ] || exit 0
umask 077
# The secret is told once: to a file, before anything else can go wrong.
[ -e "$folder/.made" ] || productsearch-engine library create "$library" --json >"$folder/.making"
[ -e "$folder/.made" ] || mv "$folder/.making" "$folder/.made"
take() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]], end="")' "$folder/.made" "$1"; }
take api_key >"$folder/api_key"
take secret_key >"$folder/.secret_key"
mv "$folder/.secret_key" "$folder/secret_key" # last: it says that both are there
rm "$folder/.made"
