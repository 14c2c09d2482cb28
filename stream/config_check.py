"""What a configuration names on this machine and a watch would refuse: users, certificate, evidence's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stream.config import AppConfig, load_config
from stream.config_file import ConfigError, Location, YamlFile
from stream.errors import UnmaskError
from stream.evidence.folders import try_root
from stream.web.tls import tls_context
from stream.web.users import read_some_users


def check_named_files(path: Path) -> None:
    """Look at them, as a watch would, and leave nothing behind. Raises ConfigError as load_config."""
    config, file = load_config(path), YamlFile(path)
    problems = [f"{path}:{file.line(where)}: {problem}" for where, problem in _problems(config)]
    if problems:
        raise ConfigError(problems)


def _problems(config: AppConfig) -> Iterator[tuple[Location, UnmaskError]]:
    """Of the page also where it is off: ``--web`` turns it on."""
    web, folder = config.web, config.evidence.folder
    try:
        if web.users is not None:
            read_some_users(web.users)
    except UnmaskError as error:
        yield ("web", "users"), error
    try:
        if web.tls is not None:
            tls_context(web.tls)
    except UnmaskError as error:
        yield ("web", "tls"), error
    try:
        if folder is not None:
            try_root(folder)
    except UnmaskError as error:
        yield ("evidence", "folder"), error
