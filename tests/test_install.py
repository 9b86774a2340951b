"""`make install`: uv is told what pip is told; where it cannot be, that is said, and left to pip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import uv_install
from uv_install import NotByUv, fetched, handed_over, settings

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
TLS = {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}

STAND_IN = """#!{python}
import json, os, sys
with open({told!r}, "w") as file:
    json.dump([sys.argv[1:], dict(os.environ)], file)
sys.exit({code})
"""
"""In place of uv: writes down what it is told."""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which neither pip nor uv is told anything, and without uv."""
    for name in os.environ:
        if name.startswith(("PIP_", "UV_", "SSL_CERT", "CURL_CA", "REQUESTS_CA")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()


def test_pip_is_asked_for_its_settings_and_the_environment_counts_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\ntimeout = 30\nfind-links =\n  /a\n  /b\nextra-index-url = https://one\n"
        "[install]\nextra-index-url = https://two\npre = yes\n[download]\nno-deps = true\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_TIMEOUT", "180")
    expected = {"timeout": "180", "find-links": "\n/a\n/b", "extra-index-url": "https://two", "pre": "yes"}
    said = settings(PIP)  # and what the machine's own files say
    assert {name: said[name] for name in expected} == expected
    assert "no-deps" not in said


@pytest.mark.parametrize(
    ("name", "value", "options", "variables"),
    [
        ("index-url", "https://me:secret@here/simple", [], {"UV_DEFAULT_INDEX": "https://me:secret@here/simple"}),
        ("extra-index-url", "file:///a https://b", [], {"UV_INDEX": "file:///a https://b"}),
        ("find-links", "\n/a\n/b", [], {"UV_FIND_LINKS": "/a,/b"}),
        ("constraint", "a.txt", ["--constraints", "a.txt", "--build-constraints", "a.txt"], {}),
        ("trusted-host", "a b", [], {"UV_INSECURE_HOST": "a b"}),
        ("no-index", "true", [], {"UV_NO_INDEX": "true"}),
        ("no-index", "0", [], {}),
        ("pre", "1", [], {"UV_PRERELEASE": "allow"}),
        ("cert", "/ca.pem", [], {"SSL_CERT_FILE": "/ca.pem"}),
        ("proxy", "http://p", [], {"HTTP_PROXY": "http://p", "HTTPS_PROXY": "http://p"}),
        ("default-timeout", "180", [], {"UV_HTTP_TIMEOUT": "180"}),
        ("quiet", "1", [], {}),
    ],
)
def test_settings_are_handed_over(name: str, value: str, options: list[str], variables: dict[str, str]) -> None:
    assert handed_over({name: value}) == (options, TLS | variables)


def test_authorities_that_pip_trusts_by_the_environment_are_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURL_CA_BUNDLE", "/curl.pem")
    assert handed_over({})[1] == TLS | {"SSL_CERT_FILE": "/curl.pem"}
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/requests.pem")
    assert handed_over({})[1] == TLS | {"SSL_CERT_FILE": "/requests.pem"}
    assert handed_over({"cert": "/pip.pem"})[1] == TLS | {"SSL_CERT_FILE": "/pip.pem"}


def test_a_setting_that_uv_may_not_understand_is_named_without_its_value() -> None:
    with pytest.raises(NotByUv, match=r"pip is given the setting 'hidden-url', which uv may not understand$"):
        handed_over({"hidden-url": "https://me:secret@here"})


@pytest.mark.parametrize("code", [0, 2])
def test_uv_is_asked_for_what_pip_would_be(
    code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "told.json"
    uv = tmp_path / "bin" / "uv"
    uv.write_text(STAND_IN.format(python=sys.executable, told=str(told), code=code))
    uv.chmod(0o755)
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    assert uv_install.main(["-c", "constraints.txt", "-e", ".[dev]"]) == (1 if code else 0)
    words, environment = json.loads(told.read_text())
    assert words[:2] == ["pip", "install"]
    assert words[-4:] == ["-c", "constraints.txt", "-e", ".[dev]"]
    assert words[words.index("--python") + 1] == sys.executable
    assert environment["UV_FIND_LINKS"] == "/wheels"
    said = capfd.readouterr().err
    assert said == (f"{uv} could not install it: pip installs instead, which takes longer.\n" if code else "")


def test_uv_is_got_by_pip_and_does_not_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From a folder of wheels that holds one of that name."""
    wheels, told = tmp_path / "wheels", tmp_path / "told.json"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "uv-0.9.0-py3-none-any.whl", "w") as wheel:
        script = STAND_IN.format(python="python", told=str(told), code=0)
        program = zipfile.ZipInfo("uv-0.9.0.data/scripts/uv")
        program.external_attr = 0o100755 << 16
        wheel.writestr(program, script)
        wheel.writestr("uv-0.9.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 0.9.0\n")
        wheel.writestr("uv-0.9.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("uv-0.9.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    uv = fetched(PIP, tmp_path / "kept")
    subprocess.run([uv, "pip", "install"], check=True)
    assert json.loads(told.read_text())[0] == ["pip", "install"]
    told.unlink()
    assert uv_install.main(["kerf-lab"]) == 0
    assert json.loads(told.read_text())[0][-1] == "kerf-lab"
    assert shutil.which("uv") is None


def test_without_uv_it_is_left_to_pip_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert uv_install.main(["-e", "."]) == 1
    assert capfd.readouterr().err == (
        "uv is not on the PATH, and pip could not get it: pip installs instead, which takes longer.\n"
    )
