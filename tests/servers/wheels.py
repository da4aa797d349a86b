"""Where installed wheels keep their programs, without importing them."""

from importlib.util import find_spec
from pathlib import Path


class NotInstalled(Exception):
    """A wheel of the development requirements is missing."""


def package_of(name: str) -> Path:
    """Return the directory of an installed package. Raises NotInstalled."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise NotInstalled(f"{name} is not installed. Run: make install")
    return Path(spec.origin).parent
