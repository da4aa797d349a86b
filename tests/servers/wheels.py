"""Where installed wheels keep their programs, without importing them."""

from importlib.metadata import PackageNotFoundError, distribution
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


def program_of(name: str, program: str) -> Path:
    """Return a program that a wheel put beside Python's own. Raises NotInstalled."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        raise NotInstalled(f"{name} is not installed. Run: make install") from None
    [found] = [file for file in files if file.name == program]
    return Path(str(found.locate())).resolve()
