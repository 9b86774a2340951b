"""Addresses of servers that may hold a password: of MLflow, of a Ray head, of Optuna's database."""

from __future__ import annotations

import re
from urllib.parse import unquote

from kerf.lab.errors import KerfError

_USER = re.compile(r"(?<=://)(?P<user>[^/@:?]*):(?!\d+/)(?P<secret>.+)@")
"""User and password; up to the last `@`, for a password may hold one that nobody has encoded. A port is none."""

_QUERY = re.compile(r"(?P<name>[?&][^=&]*(?:pass|pwd|secret|token)[^=&]*=)(?P<secret>[^&#]+)", re.IGNORECASE)
"""A password in the query: `?password=...`."""


def without_password(address: str) -> str:
    """The address with `***` in the place of its password, whatever else may be wrong with it."""
    return _QUERY.sub(r"\g<name>***", _USER.sub(r"\g<user>:***@", address))


def without_passwords_of(address: str, text: str) -> str:
    """`text` with `***` wherever it holds the address, or one of its passwords, as it was typed or decoded."""
    text = text.replace(address, without_password(address))
    for secret in (found["secret"] for pattern in (_USER, _QUERY) for found in pattern.finditer(address)):
        for form in (secret, unquote(secret)):
            text = text.replace(form, "***")
    return text


def refuse_password(address: str, where: str) -> None:
    """Refuse an address that holds a password; raises `KerfError`, without showing it."""
    if without_password(address) != address:
        raise KerfError(
            f"{where} holds a password, which would be written down: leave it out of the address "
            "(MLflow takes it from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, others from the environment "
            "or a file of their own)"
        )
