"""The image of the Dockerfile, really built, without a registry of images.

Debian's own Python stands in for the image that the Dockerfile starts from; everything above it is as it would be.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = ("buildah", "debootstrap", "ip", "setpriv", "unshare")
ASKED_FOR = "KERF_TEST_IMAGE"
CERTIFICATES = Path("/etc/ssl/certs")
DEBIAN = ("--variant=minbase", "--include=ca-certificates,python3,python3-venv", "bookworm")

# In the image that it stands for, Python is below /usr/local, too.
STAND_IN = """
FROM localhost/debian
COPY pip.conf /etc/pip.conf
RUN python3 -m venv /usr/local
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
"""


def why_not() -> str | None:
    """Why no image is built and run here; None if one is."""
    if not os.environ.get(ASKED_FOR):
        return (
            f"building the image takes up to a quarter of an hour and downloads a gigabyte: {ASKED_FOR}=1 asks for it"
        )
    missing = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing:
        return f"no image here ({', '.join(missing)} not found): apt-get install buildah debootstrap iproute2"
    return None if os.geteuid() == 0 else "images are built and run in chroots, so it must be root"


class Builder:
    """buildah with a storage of its own, which builds in chroots."""

    def __init__(self, folder: Path) -> None:
        self._words = ["buildah", "--root", folder / "storage", "--runroot", folder / "run"]
        self._words += ["--storage-driver", "overlay"]
        self._environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def __call__(self, *words: str | Path) -> str:
        """What buildah prints, without the line's end."""
        done = subprocess.run(
            [*self._words, *words], env=self._environment, capture_output=True, text=True, check=False, cwd="/"
        )
        assert done.returncode == 0, f"buildah {words[0]}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout.strip()

    def base(self, folder: Path) -> None:
        """The image that the Dockerfile starts from, under its name."""
        root, context = folder / "debian", folder / "stand-in"
        subprocess.run(["debootstrap", *DEBIAN, root], check=True, capture_output=True)
        container = self("from", "scratch")
        self("add", container, root, "/")
        self("commit", "--rm", container, "localhost/debian")
        shutil.rmtree(root)
        context.mkdir()
        (context / "Dockerfile").write_text(STAND_IN)
        settings = "".join(f"{key} = {value}\n" for key, value in pip().items())
        (context / "pip.conf").write_text(f"[global]\n{settings}")
        (name,) = [line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line[:5] == "FROM "]
        self("build", "--pull=never", "--tag", f"docker.io/library/{name}", context)

    def kerf(self, tag: str, **arguments: str) -> str:
        """The image of the Dockerfile, with this tag and these build arguments; its name."""
        volumes = [f"--volume={path}:{path}:ro" for path in {CERTIFICATES, *places()}]
        given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        self("build", "--pull=never", "--layers", *volumes, *given, "--tag", f"localhost/kerf:{tag}", ROOT)
        return f"localhost/kerf:{tag}"

    @contextmanager
    def container(self, image: str) -> Iterator[Path]:
        """The root of a new container of this image."""
        name = self("from", "--pull-never", image)
        try:
            yield Path(self("mount", name))
        finally:
            self("umount", name)
            self("rm", name)

    def configuration(self, image: str) -> dict[str, object]:
        """What the image says of itself: user, environment, working folder."""
        return dict(json.loads(self("inspect", "--type", "image", image))["OCIv1"]["config"])

    def run(self, image: str, *words: str) -> str:
        """What a command prints in a new container of the image, as its user."""
        name = self("from", "--pull-never", image)
        try:
            return self("run", name, "--", *words)
        finally:
            self("rm", name)

    def layers(self, image: str) -> list[str]:
        """The digests of all layers, the lowest first."""
        return list(json.loads(self("inspect", "--type", "image", image))["OCIv1"]["rootfs"]["diff_ids"])

    def size(self, image: str) -> int:
        """Bytes that the image takes on disk."""
        with self.container(image) as root:
            done = subprocess.run(["du", "-sxB1", root], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[0])


def pip() -> dict[str, str]:
    """How pip finds packages here; it must find them in the image in the same way."""
    words = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    pairs = [line.partition("=")[::2] for line in said.splitlines()]
    return {key.rpartition(".")[2]: ast.literal_eval(value) for key, value in pairs}  # said by several: once


def places() -> set[Path]:
    """Files and folders here that pip's settings name. An index's pages name files beside it."""
    words = [word for value in pip().values() for word in str(value).split()]
    named = {Path(word[7:]).parent if word.startswith("file://") else Path(word) for word in words}
    return {path for path in named if path.is_absolute() and path.exists() and CERTIFICATES not in path.parents}
