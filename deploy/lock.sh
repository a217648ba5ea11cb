#!/bin/sh
# Compiles the requirement files from pyproject.toml: pinned, hashed, for every platform, without index lines.
# usage: deploy/lock.sh [path of uv]
set -eu
uv=${1:-uv}
compile() {
    out=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command "make lock" --output-file "$out" "$@"
}
compile requirements.txt pyproject.toml
compile requirements-dev.txt --constraint requirements.txt --group dev
compile requirements-claude-code.txt --constraint requirements.txt --constraint requirements-dev.txt \
    --extra claude-code pyproject.toml
compile requirements-opentelemetry.txt --constraint requirements.txt --constraint requirements-dev.txt \
    --extra opentelemetry pyproject.toml
compile requirements-fuzz.txt --constraint requirements-dev.txt --group fuzz
# semgrep pins what others need newer: it lives in a room of its own
compile requirements-semgrep.txt --group semgrep
