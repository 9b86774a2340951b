"""Redaction of passwords in server addresses: of MLflow, a Ray head or Optuna's database."""

from __future__ import annotations

import re
from urllib.parse import unquote

from kerf.lab.errors import KerfError

_USER = re.compile(r"(?<=://)(?P<user>[^/@:?]*):(?!\d+/)(?P<secret>.+)@")
"""User and password, up to the last `@`, since a password may contain an unencoded one. A port does not match."""

_QUERY = re.compile(r"(?P<name>[?&][^=&]*(?:pass|pwd|secret|token)[^=&]*=)(?P<secret>[^&#]+)", re.IGNORECASE)
"""A password in the query, such as `?password=...`."""


def without_password(address: str) -> str:
    """Return the address with `***` instead of its password; works for malformed addresses, too."""
    return _QUERY.sub(r"\g<name>***", _USER.sub(r"\g<user>:***@", address))


def without_passwords_of(address: str, text: str) -> str:
    """Return `text` with the passwords of the address, as typed or decoded, replaced by `***`."""
    text = text.replace(address, without_password(address))
    for secret in (found["secret"] for pattern in (_USER, _QUERY) for found in pattern.finditer(address)):
        for form in (secret, unquote(secret)):
            text = text.replace(form, "***")
    return text


def refuse_password(address: str, where: str) -> None:
    """Raise `KerfError`, which does not show the password, if the address contains one."""
    if without_password(address) != address:
        raise KerfError(
            f"{where} holds a password, which would be written down: leave it out of the address "
            "(MLflow takes it from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, others from the environment "
            "or a file of their own)"
        )
