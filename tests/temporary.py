"""Folders that live as long as the process of the tests."""

from pathlib import Path
from tempfile import TemporaryDirectory

_KEPT: list[TemporaryDirectory[str]] = []


def lasting_folder() -> Path:
    """A new folder; it goes with this process."""
    _KEPT.append(TemporaryDirectory(prefix="otbroker-tests-"))
    return Path(_KEPT[-1].name)
