#!/bin/sh
# Makes certificates for trying out: certificates.sh FOLDER [CALLER...]
#   FOLDER/ca.crt            whom gateway and callers trust; its key is thrown away
#   FOLDER/tls.crt, tls.key  the gateway's: localhost, gateway
#   FOLDER/CALLER.crt, .key  callers; where none is named: catalogue (may do everything), shop (may search)
# Where there is a ca.crt already, only callers that are named and not there are made: an authority of
# their own signs them, and is appended to ca.crt. In production your mesh or cert-manager does this.
set -eu
folder=${1:?usage: certificates.sh FOLDER [CALLER...]}
shift
begun=no
[ ! -e "$folder/ca.crt" ] || begun=yes
[ $# -gt 0 ] || [ $begun = yes ] || set -- catalogue shop
wanted=
for caller in "$@"; do
    case $caller in
    "" | ca | tls | .* | *[!A-Za-z0-9._-]*)
        echo "certificates.sh: $caller: use letters, digits, '.', '_', '-'; not ca, not tls" >&2
        exit 2
        ;;
    esac
    [ -e "$folder/$caller.crt" ] || wanted="$wanted $caller"
done
[ $begun = no ] || [ -n "$wanted" ] || exit 0
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

sign() { # NAME SUBJECT-ALTERNATIVE-NAMES USAGE
    key "$work/$1.key"
    openssl req -new -key "$work/$1.key" -subj "/CN=$1" -out "$work/$1.csr"
    printf 'subjectAltName=%s\nextendedKeyUsage=%s\nbasicConstraints=critical,CA:false\n' \
        "$2" "$3" >"$work/$1.ext"
    openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" \
        -CAcreateserial -days 365 -extfile "$work/$1.ext" -out "$work/$1.crt" 2>/dev/null
}

key "$work/ca.key"
# Authorities in one file need names of their own.
openssl req -x509 -new -key "$work/ca.key" -subj "/CN=productsearch trial CA $(openssl rand -hex 4)" \
    -days 365 -addext "basicConstraints=critical,CA:true" -addext "keyUsage=critical,keyCertSign" \
    -out "$work/ca.crt"
for caller in $wanted; do
    sign "$caller" "URI:spiffe://productsearch.example/$caller" clientAuth
done
if [ $begun = yes ]; then
    cat "$folder/ca.crt" "$work/ca.crt" >"$folder/ca.crt.new"
    mv "$folder/ca.crt.new" "$folder/ca.crt" # whole or not at all: the gateway reads it again
else
    sign tls DNS:localhost,DNS:gateway,IP:127.0.0.1 serverAuth
    wanted="$wanted tls"
fi

chmod 600 "$work"/*.key
for name in $wanted; do
    mv "$work/$name.key" "$work/$name.crt" "$folder"
done
[ $begun = yes ] || mv "$work/ca.crt" "$folder" # last: it says that all is there
