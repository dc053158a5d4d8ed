# A server for models that lie in /models/NAME/VERSION; without a volume there it serves the bundled one.
#   docker build -t streetmask .
#   docker run -p 50051:50051 -v "$PWD/models:/models" streetmask --workers 2 --watch-s 5
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY scene scene
COPY protos protos
COPY serve serve
COPY streetmask streetmask
COPY model model
COPY training training
COPY export export
COPY bench bench
RUN pip install --no-cache-dir -c requirements.lock '.[serve,openvino,tracking]'
COPY models /models
RUN useradd --system streetmask
USER streetmask
EXPOSE 50051 9090
# Docker stops with SIGTERM, on which the server drains; leave it longer than --drain-s.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --start-period=30s CMD streetmask health --server "127.0.0.1:${STREETMASK_PORT:-50051}"
ENTRYPOINT ["streetmask", "serve", "/models", "--host", "0.0.0.0", "--metrics-port", "9090"]
