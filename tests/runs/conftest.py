"""What several files of tests need: a toy recipe, and an S3 server on this machine."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest
import yaml
from moto.server import ThreadedMotoServer

from kerf.runs.recipe.files import merge

BUCKET = "kept"

TOY = {
    "name": "toy",
    "world": "tests.toy_world:Lever",
    "seeds": 2,
    "penalty": 10,
    "arms": {"continued": {}, "exposure": {}, "penalised": {}, "half": {"kind": "penalised", "strength": 0.5}},
    "primaries": [
        {
            "name": "care-falls",
            "arm": "penalised",
            "against": "exposure",
            "metric": "value/care",
            "direction": "decrease",
            "falsified_by": "care stays where it is",
        }
    ],
}


@pytest.fixture
def write(tmp_path):
    """Writes a recipe, patched over `TOY` and possibly with its keys in another order, and gives its path."""

    def write(patch=None, backwards=False):
        path = tmp_path / "toy.yaml"
        recipe = merge(TOY, patch or {})
        recipe = dict(reversed(recipe.items())) if backwards else recipe
        path.write_text("# a comment\n" + yaml.safe_dump(recipe, sort_keys=False))
        return str(path)

    return write


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """The address of a real S3 server, which the environment names while the module's tests run."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str) -> str:
    """The address of an empty bucket."""
    import s3fs

    # what servers of one process keep, they share
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/moto-api/reset", method="POST")).close()
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
    return f"s3://{BUCKET}"
