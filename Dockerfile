# syntax=docker/dockerfile:1
# Two images from one file: `--target web` without torch, `--target worker` with it.

FROM python:3.13-slim-bookworm AS wheel
WORKDIR /source
RUN pip install --no-cache-dir "build>=1.2"
COPY pyproject.toml constraints.txt README.md LICENSE manage.py ./
COPY platform platform
COPY classify classify
COPY aggregation aggregation
COPY ml_worker ml_worker
COPY templates templates
COPY static static
RUN python -m build --wheel --outdir /wheels

FROM python:3.13-slim-bookworm AS web
ENV MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=starsieve.settings \
    STARSIEVE_VAR=/var/lib/starsieve \
    STATIC_ROOT=/srv/static \
    PROMETHEUS_MULTIPROC_DIR=/run/starsieve \
    XDG_CACHE_HOME=/tmp/cache \
    XDG_CONFIG_HOME=/tmp/config
RUN groupadd --gid 10001 starsieve \
    && useradd --uid 10001 --gid starsieve --home-dir /var/lib/starsieve --no-create-home starsieve \
    && install -d -o starsieve -g starsieve /var/lib/starsieve /var/lib/starsieve/media /var/lib/starsieve/releases \
       /var/lib/starsieve/snapshots /var/lib/starsieve/models /srv/static /run/starsieve
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheels /tmp/wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(ls /tmp/wheels/starsieve-*.whl)[s3,sentry]"
USER starsieve
WORKDIR /var/lib/starsieve
# The key of the build is never used to sign anything: collecting static files merely loads the settings.
RUN SECRET_KEY=collecting-static-files-only django-admin collectstatic --noinput --verbosity 0
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["gunicorn", "starsieve.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "4"]

FROM web AS worker
USER root
# An index of small CPU-only builds of torch; empty takes the registry's build, which carries CUDA.
ARG TORCH_INDEX=""
RUN pip install --no-cache-dir -c /tmp/constraints.txt ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} \
    "$(ls /tmp/wheels/starsieve-*.whl)[ml,s3,sentry]"
USER starsieve
HEALTHCHECK --interval=60s --timeout=20s --start-period=60s --retries=3 \
    CMD ["celery", "-A", "starsieve", "inspect", "ping", "--timeout", "15", "--destination", "worker@starsieve"]
CMD ["celery", "-A", "starsieve", "worker", "--hostname", "worker@starsieve", "--concurrency", "1", "--loglevel", "INFO"]
