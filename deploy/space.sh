#!/bin/sh
# Lays out the repository of a Hugging Face Space: its README and Dockerfile, and the program.
# usage: deploy/space.sh DIR    (new, empty, or a clone of the Space; what is named alike in it is replaced)
set -eu
if [ $# -ne 1 ] || [ -z "$1" ]; then
    echo "usage: deploy/space.sh DIR" >&2
    exit 2
fi
mkdir -p "$1"
space=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
if [ "$space" = "$(pwd)" ]; then
    echo "That is the checkout itself: the Space's README would replace its own." >&2
    exit 1
fi
rm -rf "$space/proxy"
cp huggingface/README.md huggingface/Dockerfile app.py requirements.txt LICENSE .dockerignore "$space/"
cp -R proxy "$space/"
find "$space/proxy" -name __pycache__ -type d -prune -exec rm -rf {} +
