#!/bin/sh
# Builds the image for amd64 and arm64 and pushes it to a registry of yours; needs docker with buildx.
# usage: CLAUDE_PROXY_API_DOCKER_REGISTRY_URI=registry.example.com/team [CLAUDE_CODE=1] deploy/build.sh
set -eu
registry=${CLAUDE_PROXY_API_DOCKER_REGISTRY_URI:-}
registry=${registry#*://}
registry=${registry%/}
if [ -z "$registry" ]; then
    echo "Set CLAUDE_PROXY_API_DOCKER_REGISTRY_URI to the registry the image is pushed to." >&2
    exit 1
fi
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__[^"]*"\([^"]*\)"$/\1/p' proxy/__init__.py)
exec docker buildx build --platform linux/amd64,linux/arm64 --build-arg "CLAUDE_CODE=${CLAUDE_CODE:-}" \
    --tag "$registry/carousel:$version" --tag "$registry/carousel:latest" --push .
