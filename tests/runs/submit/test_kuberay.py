"""Manifests for KubeRay: every one fits the schema, a misspelt field does not, and what cannot be sent is refused."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from kerf.lab.errors import KerfError
from kerf.runs.recipe.files import built_in_recipes
from kerf.runs.submit.kuberay import check_manifest
from tests.runs.submit.calls import kerf, refused

ROOT = Path(__file__).parents[3]
NEEDED = ("--to", "kuberay", "--image", "registry.example/kerf:1", "--claim", "records")

pytestmark = pytest.mark.usefixtures("workplace")


def manifest(*words: str) -> str:
    printed = kerf("submit", *words, *NEEDED, "--dry-run")
    head, _, text = printed.partition("\n")
    assert head == "# ---- rayjob.yaml"
    return text


CASES = [
    ["smoke"],
    ["smoke", "--nodes", "3", "--cpus", "4", "--memory", "8Gi", "--time", "3600", "--namespace", "lab"],
    ["smoke", "--secret", "tracking", "--mlflow", "http://mlflow:5000", "--set", "penalty=5"],
    ["dilemma", "--out", "all"],
    ["mine.yaml", "--nodes", "2"],
    ["smoke", "--nodes", "2", "--out", "elsewhere/study"],
]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_every_manifest_fits_the_schema(words, workplace):
    (workplace / "mine.yaml").write_text(built_in_recipes()["smoke"].read_text())
    text = manifest(*words)
    check_manifest(text)
    *others, job = yaml.safe_load_all(text)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == importlib.metadata.version("ray")
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    entry = shlex.split(job["spec"]["entrypoint"])
    assert entry[:2] == ["kerf", "run"]
    assert entry[entry.index("--out") + 1].startswith("/kerf/")
    workers = job["spec"]["rayClusterSpec"].get("workerGroupSpecs", [])
    assert (
        sum(group["replicas"] for group in workers)
        == int(words[words.index("--nodes") + 1] if "--nodes" in words else 1) - 1
    )
    if words[0] == "mine.yaml":
        (recipe,) = others
        assert recipe["data"] == {"mine.yaml": (workplace / "mine.yaml").read_text()}
        assert entry[2] == "/etc/kerf/mine.yaml"
    else:
        assert others == []


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_pods_are_what_kubernetes_knows(words, workplace):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    (workplace / "mine.yaml").write_text(built_in_recipes()["smoke"].read_text())
    for document in yaml.safe_load_all(manifest(*words)):
        known = [document]
        if document["kind"] == "RayJob":
            cluster = document["spec"]["rayClusterSpec"]
            groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
            templates = [document["spec"]["submitterPodTemplate"], *(group["template"] for group in groups)]
            known = [
                {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
                for template in templates
            ]
        for one in known:
            kubernetes_validate.validate(one, "1.32", strict=True)


@pytest.mark.parametrize(
    ("spelt", "misspelt"),
    [
        ("shutdownAfterJobFinishes", "shutdownAfterJobFinish"),
        ("rayStartParams", "rayStartParam"),
        ("authOptions", "authOption"),
        ("claimName", "claim"),
        ("volumeMounts", "volumeMount"),
        ("allowPrivilegeEscalation", "allowPrivilegesEscalation"),
        ("mode: token", "mode: tokens"),
        ('memory: "4Gi"', 'memory: "4GB"'),
        ("ray.io/v1", "ray.io/v2"),
    ],
)
def test_a_misspelt_field_is_caught(spelt, misspelt):
    text = manifest("smoke")
    assert spelt in text
    with pytest.raises(KerfError, match=r"does not fit KubeRay's schema"):
        check_manifest(text.replace(spelt, misspelt))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--claim", "records"], "--image is missing"),
        (["--image", "kerf"], "--claim is missing"),
        (["--image", "kerf", "--out", "s3://"], "expected a folder or an address like s3://bucket/study, got 's3://'"),
        ([*NEEDED[2:], "--time", "1:00:00"], "--time must be seconds for kuberay, got '1:00:00'"),
        ([*NEEDED[2:], "--memory", "4 GB"], "'4 GB' does not match"),
        ([*NEEDED[2:], "--namespace", "My_Lab"], "'My_Lab' does not match"),
        ([*NEEDED[2:], "--out", "/elsewhere"], "--out must be below the working folder"),
        ([*NEEDED[2:], "--address", "http://x"], "--address concerns ray only"),
    ],
)
def test_mistakes_end_in_a_sentence(words, said):
    assert said in refused("submit", "smoke", "--to", "kuberay", *words, "--dry-run")


def test_records_at_an_address_need_no_volume(workplace):
    text = kerf("submit", "smoke", "--to", "kuberay", "--image", "x", "--out", "s3://bucket/deep/study", "--dry-run")
    job = yaml.safe_load(text.partition("\n")[2])
    entry = shlex.split(job["spec"]["entrypoint"])
    assert entry[entry.index("--out") + 1] == "s3://bucket/deep/study"
    pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "records", "emptyDir": {}}]
    assert pod["containers"][0]["workingDir"] == "/kerf"


def test_several_studies_need_one_folder():
    assert "--out is missing" in refused("submit", "dilemma", *NEEDED, "--dry-run")


def test_without_kubectl_that_is_told(workplace, monkeypatch):
    monkeypatch.setenv("PATH", str(workplace))
    assert "kubectl is not found" in refused("submit", "smoke", *NEEDED)
    assert "no jobs in" in kerf("jobs")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_without_a_cluster_that_is_told(workplace, monkeypatch):
    (workplace / "config").write_text(
        "apiVersion: v1\nkind: Config\nclusters: [{name: x, cluster: {server: 'http://127.0.0.1:9'}}]\n"
    )
    monkeypatch.setenv("KUBECONFIG", str(workplace / "config"))
    assert "kubectl refuses: " in refused("submit", "smoke", *NEEDED)
    assert "no jobs in" in kerf("jobs")


def test_the_tracking_password_of_the_environment_is_not_sent(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:canary-7@mlflow:5000")
    sentence = refused("submit", "smoke", *NEEDED, "--dry-run")
    assert "MLFLOW_TRACKING_URI holds a password" in sentence
    assert "canary-7" not in sentence


def test_the_image_has_all_packages_and_the_ray_that_the_manifest_names():
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_in = re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    packages = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")
    assert copied == packages
    assert set(packages) <= set(let_in)
    assert f"\nray=={importlib.metadata.version('ray')}\n" in (ROOT / "constraints.txt").read_text()


def test_all_pods_are_such_as_restricted_namespaces_take():
    spec = yaml.safe_load(manifest("smoke", "--nodes", "2"))["spec"]
    cluster = spec["rayClusterSpec"]
    groups = (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    pods = [spec["submitterPodTemplate"]["spec"], *(group["template"]["spec"] for group in groups)]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["image"] == "registry.example/kerf:1"
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_image_is_what_hadolint_accepts():
    try:
        done = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("hadolint is not installed")
    assert done.returncode == 0, done.stdout
