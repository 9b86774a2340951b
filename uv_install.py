"""Installs by uv what `pip install` would, in a third of the time: `python uv_install.py -c constraints.txt -e .`

pip's settings (its files and PIP_* variables) hold for uv, too. Where uv cannot be had, fails, or may not understand
one of them, this says so in a sentence and exits with 1: then pip is to do it. Needs nothing but Python and its pip.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

UV = "uv>=0.8,<1"
"""What pip is asked for where no uv is on the PATH."""

WORDS: Mapping[str, tuple[str, str]] = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
}
"""Settings of pip's that hold any number of words -> the environment variable of uv's that holds them, and what is
between them there. No options: a password in an address is nobody else's business."""

FLAGS: Mapping[str, tuple[str, str]] = {"no-index": ("UV_NO_INDEX", "true"), "pre": ("UV_PRERELEASE", "allow")}
"""Settings that are true or false -> what uv is told where they are true."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
    "retries": ("UV_HTTP_RETRIES",),
}
"""Settings that hold one value -> the variables that hold it."""

NO_MATTER = {
    *("cache-dir", "config-file", "disable-pip-version-check", "log", "no-cache-dir", "no-color", "no-input"),
    *("no-python-version-warning", "no-warn-script-location", "progress-bar", "quiet", "require-virtualenv"),
    *("root-user-action", "verbose"),
}
"""Settings of pip's that do not change what is installed."""

FALSE = {"", "0", "f", "false", "n", "no", "off"}


class NotByUv(Exception):
    """Why it is left to pip, in a sentence."""


def main(words: Sequence[str]) -> int:
    """Install what `pip install <words>` would into this Python's environment; the exit code."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    try:
        options, variables = handed_over(settings(pip))
        with tempfile.TemporaryDirectory() as folder:
            uv = shutil.which("uv") or fetched(pip, Path(folder))
            command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--compile-bytecode"]
            # As pip has it: the best version of all indexes, not that of the first index that has any.
            command += ["--index-strategy", "unsafe-best-match", *options, *words]
            try:
                subprocess.run(command, env={**os.environ, **variables}, check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise NotByUv(f"{uv} could not install it") from error
    except NotByUv as why:
        print(f"{why}: pip installs instead, which takes longer.", file=sys.stderr)
        return 1
    return 0


def settings(pip: Sequence[str]) -> dict[str, str]:
    """What `pip install` is told by its files and the environment, in this order: the later counts."""
    done = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotByUv(f"`pip config list` fails ({done.stderr.strip()})")
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found:
            found[section][name] = ast.literal_eval(value)
    return {**found["global"], **found["install"], **found[":env:"]}


def handed_over(settings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The options and environment variables by which uv does as pip is told by the settings `said`.

    Raises:
        NotByUv: for a setting that it may not understand.
    """
    options: list[str] = []
    # pip trusts whom the system trusts, and so does uv if asked to; the second name is that of older versions.
    variables = {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        if os.environ.get(name):
            variables["SSL_CERT_FILE"] = os.environ[name]
    for name, value in settings.items():
        if name == "constraint":  # those of the environment would not count beside -c
            options += [part for word in value.split() for part in ("--constraints", word)]
            options += [part for word in value.split() for part in ("--build-constraints", word)]
        elif name in WORDS:
            variable, between = WORDS[name]
            variables[variable] = between.join(value.split())
        elif name in FLAGS:
            variables |= dict([FLAGS[name]]) if value.lower() not in FALSE else {}
        elif name in VALUES:
            variables |= dict.fromkeys(VALUES[name], value)
        elif name not in NO_MATTER:
            raise NotByUv(f"pip is given the setting {name!r}, which uv may not understand")
    return options, variables


def fetched(pip: Sequence[str], folder: Path) -> str:
    """uv, which pip puts into `folder`: nothing of it stays."""
    command = [*pip, "install", "-qq", "--no-deps", "--target", str(folder), UV]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotByUv("uv is not on the PATH, and pip could not get it")
    return str(folder / "bin" / "uv")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
