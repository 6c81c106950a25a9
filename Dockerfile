# Build: docker build -t sam-in-the-browser .      Run: docker run --rm -p 7860:7860 sam-in-the-browser
FROM node:20-bookworm-slim AS page
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --omit=dev --no-audit --no-fund
COPY static static
RUN npm run vendor

FROM python:3.11-slim-bookworm
WORKDIR /app
COPY . .
COPY --from=page /app/static/vendor static/vendor
COPY --from=page /app/static/kernels static/kernels
RUN pip install --no-cache-dir . && useradd --create-home sam
USER sam
EXPOSE 7860
ENV SAM_DEMO_HOST=0.0.0.0 SAM_DEMO_PORT=7860 SAM_DEMO_OPEN=0
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz').read()"]
CMD ["python", "-m", "demo"]
