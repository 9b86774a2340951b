# What `kerf submit --to kuberay` runs, as the user 1000: Ray of the version that Kerf pins, and Kerf.
#     docker build --build-arg KERF_REVISION="$(git describe --always --abbrev=40 --dirty=+changed --match=)" \
#         -t registry.example/kerf:0.2.0 .
# Not from Ray's own image: constraints.txt would replace most of its packages, which then are in it twice.
FROM python:3.11-slim-bookworm

# wget is what KubeRay's probes ask with.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --shell /bin/bash --uid 1000 --gid 100 kerf \
    && install -d -o 1000 -g 100 /kerf

# The index of PyTorch's CPU builds, which its own site names. Without it pip fetches gigabytes of GPU libraries.
ARG PIP_EXTRA_INDEX_URL

# What Kerf needs, before Kerf: it changes less often. setuptools finds no packages here yet.
WORKDIR /opt/kerf
COPY pyproject.toml setup.py constraints.txt ./
RUN touch README.md LICENSE && pip install --no-cache-dir -c constraints.txt '.[s3]'

COPY README.md LICENSE ./
COPY agents agents
COPY generators generators
COPY lab lab
COPY runs runs
# Records and checkpoints name the code that made them: without a revision, or changed since, by a digest of it.
ARG KERF_REVISION
RUN find agents generators lab runs -type f -exec sha256sum {} + > /tmp/sums && sort -o /tmp/sums /tmp/sums \
    && digest=$(sha256sum /tmp/sums) && digest=sources-${digest%% *} \
    && case "$KERF_REVISION" in ""|*+changed) KERF_REVISION=${KERF_REVISION:+$KERF_REVISION-}$digest ;; esac \
    && echo "$KERF_REVISION" > runs/revision.txt \
    && pip install --no-cache-dir --no-deps --force-reinstall . && rm -rf /opt/kerf/* /tmp/sums \
    && kerf --version

USER 1000
ENV HOME=/home/kerf
WORKDIR /kerf
CMD ["kerf", "--help"]
