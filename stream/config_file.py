"""Reading a YAML file into pydantic models, with errors that name the line, the key and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stream.errors import UsageError

Location = tuple[int | str, ...]
SECRETS = ("password", "secret", "token")
REMEDY = "give a YAML file such as configs/webcam.yaml"

UNTAGGED = (ValueError, RecursionError, AttributeError, IndexError, KeyError, TypeError, OverflowError)
"""What PyYAML lets out for values that are not of their tag, such as ``!!int x``: with the value in the text."""
_QUOTED = re.compile(r"'(?!<[a-z ]+>')[^']{3,}'")
"""Something of the file in a parser's words: an alias, a tag; not a single character, nor the kind of a token."""
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}")


class ConfigError(UsageError):
    """A configuration that cannot be used; its text is the first problem and how many more there are."""

    def __init__(self, problems: Sequence[str]) -> None:
        """``problems``: one line each, at least one."""
        more = len(problems) - 1
        super().__init__(problems[0] + (f" (and {more} more problem{'s'[: more > 1]})" if more else ""))
        self.problems = tuple(problems)


class YamlFile:
    """A parsed file: plain values, and the line of each."""

    def __init__(self, path: Path, remedy: str = REMEDY) -> None:
        """Raises ConfigError when the file is absent, not YAML, not a mapping, or says a key twice.

        ``remedy``: what to do where there is no such file.
        """
        self.path = path
        text = _text(path, remedy)
        try:
            self._root, self.values = self._read(text)
        except yaml.MarkedYAMLError as error:
            raise ConfigError([self._syntax(error)]) from None
        except yaml.YAMLError as error:
            raise ConfigError([f"{path}: not YAML: {str(error).splitlines()[0]}"]) from None
        except UNTAGGED:
            raise ConfigError([f"{path}: not YAML: a value is not what its tag says, or nested too deep"]) from None
        if not isinstance(self.values, dict):
            raise ConfigError([f"{path}:1: must hold keys such as `streams:`, not a {type(self.values).__name__}"])

    def _read(self, text: str) -> tuple[yaml.Node | None, dict[str, Any]]:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            self._refuse_doubtful_keys(root)
            return root, loader.construct_document(root) if root else {}
        finally:
            loader.dispose()

    def line(self, location: Location) -> int:
        """Line (from 1) of the key or list item at ``location``, or of the nearest thing around it."""
        node, line = self._root, 1
        for part in location:
            found = _child(node, part)
            if found is None:
                break
            node, line = found
        return line

    def _refuse_doubtful_keys(self, root: yaml.Node | None) -> None:
        problems = [f"{self.path}:{line}: {problem}" for line, problem in _doubtful_keys(root, set())]
        if problems:
            raise ConfigError(problems)

    def _syntax(self, error: yaml.MarkedYAMLError) -> str:
        mark = error.problem_mark or error.context_mark
        where = f"{self.path}:{mark.line + 1}" if mark else str(self.path)
        problem = _QUOTED.sub("'…'", str(error.problem or error.context))
        return f"{where}: not YAML: {problem}"


def problems_of(error: ValidationError, model: type[BaseModel], file: YamlFile | None = None) -> list[str]:
    """One line for each thing wrong, in the file's order; values are left out, as one might be a secret."""
    lines = [_line_and_problem(one, model, file) for one in error.errors()]
    return [f"{file.path}:{line}: {text}" if file else text for line, text in sorted(lines, key=lambda pair: pair[0])]


def key_path(location: Location) -> str:
    """``streams[0].source``"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" for part in location).lstrip(".")


def _shown(key: object) -> str:
    """A key as it is, if it looks like one: an address that slipped into a key's place may hold a password."""
    return str(key) if _PLAIN_KEY.fullmatch(str(key)) else "…"


def _text(path: Path, remedy: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not a text file: {remedy}"]) from None
    except OSError as error:
        raise ConfigError([f"cannot read {path} ({error.strerror}): {remedy}"]) from None


def _doubtful_keys(node: yaml.Node | None, seen: set[int]) -> Iterator[tuple[int, str]]:
    """Keys that are said twice in one mapping, or are no text: YAML reads ``on:`` as true."""
    if id(node) in seen:  # an alias: looked at already
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _doubtful_keys(item, seen)
    if isinstance(node, yaml.MappingNode):
        yield from _doubtful_in_mapping(node, seen)


def _doubtful_in_mapping(node: yaml.MappingNode, seen: set[int]) -> Iterator[tuple[int, str]]:
    keys: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            yield line, f"{_shown(getattr(key, 'value', ''))!r} is not read as text here: put it in quotes"
        elif key.value in keys:
            yield line, f"{_shown(key.value)}: said twice: keep one"
        keys.add(str(key.value))
        yield from _doubtful_keys(value, seen)


def _child(node: yaml.Node | None, part: int | str) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, key.start_mark.line + 1
    return None


def _line_and_problem(error: ErrorDetails, model: type[BaseModel], file: YamlFile | None) -> tuple[int, str]:
    location, models = _in_file(error["loc"], model)
    return (file.line(location) if file else 0), _problem(error, location, models)


def _problem(error: ErrorDetails, location: Location, models: Sequence[type[BaseModel]]) -> str:
    """``models``: what the section around ``location`` may be."""
    where = key_path(location)
    if error["type"] == "extra_forbidden":
        known = dict.fromkeys(name for model in models for name in model.model_fields)
        return f"{where}: {_unknown_key(str(location[-1]), tuple(known))}"
    if error["type"] == "missing":
        return f"{where}: missing: every entry needs it"
    if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"{where}.kind: must be one of {', '.join(filter(None, map(_kind_of, models)))}"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{where}: {message}" if where else message


def _unknown_key(key: str, known: Sequence[str]) -> str:
    if key in SECRETS:
        return f"a {key} does not belong in this file: use {key}_env or {key}_file"
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown key; {hint}known: {', '.join(known)}"


def _in_file(location: Location, model: type[BaseModel]) -> tuple[Location, tuple[type[BaseModel], ...]]:
    """A location as it is in the file, without the kinds that pydantic puts between, and what its section may be."""
    models: tuple[type[BaseModel], ...] = (model,)
    inner, shown = models, list[int | str]()
    for part in location:
        chosen = tuple(one for one in inner if _kind_of(one) == part)
        if len(inner) > 1 and chosen:
            models = inner = chosen
            continue
        shown.append(part)
        if isinstance(part, str):
            models = inner
            fields = (one.model_fields[part].annotation for one in inner if part in one.model_fields)
            inner = tuple(found for field in fields for found in _models_in(field))
    is_entry = bool(shown) and isinstance(shown[-1], int)
    return tuple(shown), inner if is_entry else models


def _kind_of(model: type[BaseModel]) -> str | None:
    """What a section's ``kind`` must say, where kinds differ."""
    kind = model.model_fields.get("kind")
    return str(get_args(kind.annotation)[0]) if kind is not None and get_args(kind.annotation) else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
