# One image for everything: web (the default command), workers and commands. See docs/deploying.md.
FROM python:3.13-slim-trixie AS build
WORKDIR /usher
COPY requirements*.txt ./
# With traces and error reports: --build-arg REQUIREMENTS="-r requirements.txt -r requirements-observability.txt"
ARG REQUIREMENTS="-r requirements.txt"
# Wheels only, by the hashes of the lock: nothing is compiled, so no compiler is needed.
RUN python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: $REQUIREMENTS

FROM python:3.13-slim-trixie
ARG RELEASE=""
ENV PATH=/usher/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    USHER_ENV=production \
    LOG_FORMAT=json \
    RELEASE=$RELEASE
WORKDIR /usher
RUN useradd --system --user-group --uid 10001 --home-dir /usher --no-create-home --shell /usr/sbin/nologin usher
COPY --from=build /usher/.venv .venv
COPY . .
# Static files are part of the image, under names with their hash; servestatic serves them from there.
# The key is for this one command, which signs nothing.
RUN SECRET_KEY=only-to-collect-static-files DATABASE_URL=sqlite:////tmp/none \
    python manage.py collectstatic --no-input --verbosity 0 \
 && chown -R usher:usher var
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Workers answer on another port: compose.yaml says so. The Host header must be one that is served.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(r.Request('http://127.0.0.1:8000/livez', headers={'Host': os.environ.get('ALLOWED_HOSTS', 'localhost').split(',')[0].lstrip('.')}), timeout=2)"]
# Who the client is, TRUSTED_PROXIES decides; uvicorn would believe any header.
CMD ["uvicorn", "project.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--no-proxy-headers", "--ws-max-size", "1024", "--ws-per-message-deflate", "false", "--log-level", "warning", "--timeout-graceful-shutdown", "10"]
