# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.txt .
RUN python -m venv /app/.venv \
    && /app/.venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
       -r requirements.txt

FROM python:3.11-slim-bookworm
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 CAROUSEL_IN_IMAGE=1
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
COPY app.py ./
COPY proxy ./proxy
RUN useradd --uid 1000 --create-home carousel && mkdir /data && chown 1000:1000 /data && chmod 700 /data
USER 1000
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:%s/live' % os.environ.get('PORT', '8080'), timeout=2)"]
CMD ["python", "app.py", "serve"]
