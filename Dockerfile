# What `kerf submit --to kuberay` runs: Ray's own image of the version that Kerf pins, and Kerf.
#     docker build -t registry.example/kerf:0.1.0 .
ARG RAY_VERSION=2.60.0
FROM rayproject/ray:${RAY_VERSION}-py311-cpu

WORKDIR /home/ray/kerf
COPY --chown=1000:100 pyproject.toml constraints.txt README.md LICENSE ./
COPY --chown=1000:100 lab lab
COPY --chown=1000:100 generators generators
COPY --chown=1000:100 agents agents
COPY --chown=1000:100 runs runs
RUN pip install --no-cache-dir -c constraints.txt . && kerf --version

USER 1000
WORKDIR /kerf
ENTRYPOINT []
CMD ["kerf", "--help"]
