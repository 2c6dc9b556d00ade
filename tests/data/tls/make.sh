#!/usr/bin/env bash
# Makes the certificates of the tests anew: two authorities, and a server's certificate of the first for
# `localhost` and 127.0.0.1. They are valid for 100 years, and their keys protect nothing.
set -euo pipefail
cd "$(dirname "$0")"
for name in authority stranger; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 \
        -subj "/CN=Corecast test $name" -keyout "$name.key" -out "$name.pem"
done
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" \
    -keyout server.key -out server.csr
openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -days 36500 \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n') -out server.pem
rm server.csr authority.key stranger.key
