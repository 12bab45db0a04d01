# Three images from one file:
#   docker build --target service -t productsearch-service .
#   docker build --target engine  -t productsearch-engine  .
#   docker build --target gateway -t productsearch-gateway .
# Everything that is installed is named, with versions and hashes, in the lock files.

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
# The images run what is in /app; no installer stays behind.
RUN groupadd --gid 10001 productsearch \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin productsearch

# Our own wheels, built with the locked build tools.
FROM base AS wheels
WORKDIR /src
COPY requirements-build.lock ./
RUN python -m venv /build && /build/bin/pip install --require-hashes -r requirements-build.lock
COPY clients/python clients/python
COPY service service
COPY engine engine
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels \
    ./clients/python ./service ./engine

FROM base AS service-app
COPY service/requirements.lock /tmp/
RUN python -m venv /app && /app/bin/pip install --require-hashes -r /tmp/requirements.lock
COPY --from=wheels /wheels /wheels
RUN /app/bin/pip install --no-deps --no-index --find-links /wheels productsearch-service \
    productsearch-client && /app/bin/pip uninstall --yes pip setuptools

FROM base AS engine-app
COPY engine/requirements.lock /tmp/
RUN python -m venv /app && /app/bin/pip install --require-hashes -r /tmp/requirements.lock
COPY --from=wheels /wheels /wheels
RUN /app/bin/pip install --no-deps --no-index --find-links /wheels productsearch-engine \
    && /app/bin/pip uninstall --yes pip setuptools

FROM base AS service
RUN python -m pip uninstall --yes pip setuptools wheel
COPY --from=service-app /app /app
ENV PATH=/app/bin:$PATH
USER 10001:10001
EXPOSE 50051 50052 9464
# Settings: mount a file and name it in PRODUCTSEARCH_SETTINGS, or set PRODUCTSEARCH_... here.
ENV PRODUCTSEARCH_LISTEN=0.0.0.0:50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["productsearch-service", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["productsearch-service"]

# Envoy with deploy/envoy's bootstrap and the descriptors for JSON over HTTP. The version is the one
# that tests/mesh runs.
FROM service-app AS descriptors
COPY deploy/envoy/descriptors.py deploy/envoy/http.json /src/
RUN /app/bin/python /src/descriptors.py /product_search.binpb

FROM envoyproxy/envoy:distroless-v1.40.0 AS gateway
COPY deploy/envoy/envoy.yaml deploy/envoy/certificate.yaml deploy/envoy/callers.yaml /etc/envoy/
COPY --from=descriptors /product_search.binpb /etc/envoy/
USER 10001:10001
EXPOSE 8443 9902
ENTRYPOINT ["/usr/local/bin/envoy"]
CMD ["--config-path", "/etc/envoy/envoy.yaml"]

FROM base AS engine
RUN python -m pip uninstall --yes pip setuptools wheel \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=engine-app /app /app
ENV PATH=/app/bin:$PATH \
    OPENBLAS_NUM_THREADS=1
USER 10001:10001
EXPOSE 8190
VOLUME ["/data"]
ENV PRODUCTSEARCH_ENGINE_DATA=/data \
    PRODUCTSEARCH_ENGINE_LISTEN=0.0.0.0:8190
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8190/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["productsearch-engine"]
CMD ["serve"]
