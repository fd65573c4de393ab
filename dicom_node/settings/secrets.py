"""Secrets: they stand in files of their own, never in the configuration, and are read when they are needed."""

from pathlib import Path

from dicom_node.errors import ConfigError
from dicom_node.settings.values import unset_variable


def read_secret(path: Path) -> str:
    """Return the first line of a secret's file. Raises ConfigError when there is none to read."""
    problem = secret_problem(path)
    if problem:
        raise ConfigError([f"{path}: {problem}"])
    return path.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")


def secret_problem(path: Path) -> str:
    """Say what keeps a secret from being read, and what to do about it; "" when nothing does."""
    variable = unset_variable(path)
    if variable:
        return f"{variable} is not set; systemd sets CREDENTIALS_DIRECTORY for the service, else write the whole path"
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline(4097)
    except OSError as error:
        return f"cannot read {path} ({error.strerror}); create it, or let this user read it"
    except UnicodeDecodeError:
        return f"{path} is not text in UTF-8; write the secret on its first line"
    if not line.strip() or len(line) > 4096:
        return f"the first line of {path} is empty or longer than 4096 characters; write the secret there"
    return ""


def is_exposed(path: Path) -> bool:
    """Tell whether everyone on this machine may read a secret."""
    try:
        return bool(path.stat().st_mode & 0o004)
    except OSError:
        return False
