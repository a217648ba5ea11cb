# syntax=docker/dockerfile:1
# The base can be pinned to what was tested: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS build
ARG CLAUDE_CODE=
WORKDIR /app
COPY requirements.txt requirements-claude-code.txt /build/
# The packages come without pip, which nothing needs at run time.
RUN python -m venv --without-pip .venv \
    && python -m pip --python .venv/bin/python install --no-cache-dir --disable-pip-version-check \
       --require-hashes --only-binary :all: \
       -r /build/requirements.txt ${CLAUDE_CODE:+-r /build/requirements-claude-code.txt}
COPY app.py ./
COPY proxy ./proxy
COPY deploy/health.py ./deploy/health.py
# The image's root is read-only: what is not compiled now would be compiled at every start. A checkout may be its
# owner's alone; the image is for user 1000.
RUN .venv/bin/python -m compileall -q --invalidation-mode unchecked-hash proxy deploy \
    && chmod -R a+rX /app

# hadolint ignore=DL3006
FROM ${BASE}
ARG CLAUDE_CODE=
# What keeps a login of Claude Code from the tools it uses; docs/claude-code.md says what containers have to allow.
# hadolint ignore=DL3008
RUN [ -z "$CLAUDE_CODE" ] || { apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap socat \
    && rm -rf /var/lib/apt/lists/*; }
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 CAROUSEL_IN_IMAGE=1
RUN useradd --uid 1000 --create-home carousel && mkdir -m 700 /data && chown 1000:1000 /data
WORKDIR /app
COPY --from=build /app /app
USER 1000
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s CMD ["python", "-m", "deploy.health"]
CMD ["python", "app.py", "serve"]
