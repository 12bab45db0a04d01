#!/bin/sh
# Makes certificates for trying out: certificates.sh FOLDER
#   FOLDER/ca.crt            whom gateway and callers trust; its key is thrown away
#   FOLDER/tls.crt, tls.key  the gateway's: localhost, gateway
#   FOLDER/CALLER.crt, .key  callers: catalogue (may do everything), shop (may search)
# Where there is a ca.crt already, nothing is made. In production your mesh or cert-manager does this.
set -eu
folder=${1:?usage: certificates.sh FOLDER}
[ ! -e "$folder/ca.crt" ] || exit 0
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
openssl req -x509 -new -key "$work/ca.key" -subj "/CN=productsearch trial CA" -days 365 \
    -addext "basicConstraints=critical,CA:true" -addext "keyUsage=critical,keyCertSign" \
    -out "$work/ca.crt"
sign tls DNS:localhost,DNS:gateway,IP:127.0.0.1 serverAuth
for caller in catalogue shop; do
    sign "$caller" "URI:spiffe://productsearch.example/$caller" clientAuth
done

chmod 600 "$work"/*.key
for name in tls catalogue shop; do
    mv "$work/$name.crt" "$work/$name.key" "$folder"
done
mv "$work/ca.crt" "$folder" # last: it says that all is there
