# One image for web, workers and beat; docker-compose.yml says what each container runs.
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# CPU-only machines: --build-arg TORCH_INDEX=<the PyTorch project's CPU index> makes the image 2 GB smaller.
ARG TORCH_INDEX=
WORKDIR /build
COPY requirements.txt requirements.lock ./
RUN python -m venv /opt/venv \
    && env ${TORCH_INDEX:+PIP_INDEX_URL="$TORCH_INDEX"} \
        /opt/venv/bin/pip install $(grep -E '^torch(vision)?==' requirements.txt) \
    && /opt/venv/bin/pip install --require-hashes --no-deps -r requirements.lock

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=passive HARMONY_VAR=/data
RUN useradd --create-home --uid 10001 harmony && mkdir /data && chown harmony /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY manage.py ./
COPY harmony harmony
COPY mlcore mlcore
COPY annotation annotation
COPY templates templates
COPY static static
COPY fixtures fixtures
COPY locale locale
# The key is for this step only; a running container reads its own from the environment.
RUN SECRET_KEY=collectstatic HARMONY_VAR=/app/var python manage.py collectstatic --noinput \
    && chown -R harmony /app/var
USER harmony
ENV STATIC_ROOT=/app/var/static
VOLUME /data
EXPOSE 8000
CMD ["gunicorn", "harmony.wsgi:application", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4"]
