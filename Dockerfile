# docker build -t sam-in-the-browser .      docker run --rm -p 7860:7860 sam-in-the-browser
#
# pip takes PyTorch with CUDA on Linux, several GB more than a server without a GPU needs. To have its CPU build:
# --build-arg PIP_EXTRA_INDEX_URL=ADDRESS, with the index of CPU builds that PyTorch's installation page names.
#
# Tags name whole versions. Builds that must repeat to the byte pin digests too: TAG@sha256:...
FROM node:20.19.5-bookworm-slim AS page
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --omit=dev --no-audit --no-fund
COPY static static
RUN npm run vendor

FROM python:3.11.14-slim-bookworm AS package
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
WORKDIR /build
RUN python -m venv /opt/sam
COPY pyproject.toml README.md LICENSE export_onnx.py ./
COPY sam sam
COPY demo demo
COPY --from=page /build/static static
RUN /opt/sam/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.11.14-slim-bookworm
COPY --from=package /opt/sam /opt/sam
RUN useradd --uid 1000 --create-home sam && install --directory --owner=1000 /models
ENV PATH=/opt/sam/bin:$PATH SAM_HOME=/models SAM_DEMO_HOST=0.0.0.0 SAM_DEMO_PORT=7860 SAM_DEMO_OPEN=no
USER 1000
WORKDIR /home/sam
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD python -c "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"SAM_DEMO_PORT\"]}/healthz', timeout=8)"
CMD ["python", "-m", "demo"]
