"""The options of ``unmask watch`` and ``unmask score`` laid over a configuration file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stream.config import AppConfig, StreamConfig, load_config
from stream.errors import UsageError


def watch_config(options: argparse.Namespace) -> AppConfig:
    """What to watch and how. Raises UsageError when an option is wrong or nothing is to be watched."""
    base = load_config(options.config) if options.config else AppConfig()
    config = _merged(base, {**_model_changes(base, options), **_watch_changes(base, options)})
    if not config.streams and not config.web.enabled:  # the page adds some
        raise UsageError("nothing to watch: name a source, such as webcam, rtsp://… or clip.mp4 (see watch --help)")
    return config


def score_config(options: argparse.Namespace) -> AppConfig:
    """Model and detector for scoring files."""
    base = AppConfig()
    return _merged(base, _model_changes(base, options))


def _merged(base: AppConfig, changes: dict[str, Any]) -> AppConfig:
    values = {name: getattr(base, name) for name in AppConfig.model_fields}
    try:
        return AppConfig.model_validate({**values, **changes})
    except ValidationError as error:
        raise UsageError(_first_problem(error)) from None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}".removeprefix(": ") + " (see watch --help)"


def _watch_changes(base: AppConfig, options: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if options.sources:
        changes["streams"] = [_stream(source, options) for source in options.sources]
    given = {
        "save": options.save,
        "scores": options.scores,
        "duration_s": options.duration,
        "display": options.display,
    }
    changes.update({key: value for key, value in given.items() if value is not None})
    if options.restream:
        changes["restream"] = _restream(base)
    if options.wall:
        changes["wall"] = base.wall.model_copy(update={"enabled": True})
    return {**changes, "metrics": _metrics(base, options), "web": _web(base, options)}


def _stream(source: str, options: argparse.Namespace) -> StreamConfig:
    given = {"transport": options.transport, "user": options.user, "password_env": options.password_env}
    try:
        return StreamConfig(source=source, **{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise UsageError(_first_problem(error)) from None


def _metrics(base: AppConfig, options: argparse.Namespace) -> dict[str, Any]:
    metrics = {key: getattr(base.metrics, key) for key in type(base.metrics).model_fields}
    if options.metrics_host is not None:
        metrics["host"] = options.metrics_host
    if options.metrics_port is not None:
        metrics["enabled"] = options.metrics_port >= 0
        metrics["port"] = max(options.metrics_port, 0)
    return metrics


def _restream(base: AppConfig) -> dict[str, Any]:
    return {**{key: getattr(base.restream, key) for key in base.restream.model_fields_set}, "enabled": True}


def _web(base: AppConfig, options: argparse.Namespace) -> dict[str, Any]:
    web = {key: getattr(base.web, key) for key in base.web.model_fields_set}
    if options.web is not None:
        host, port = options.web
        given = {"enabled": True, "host": host, "port": port}
        web.update({key: value for key, value in given.items() if value is not None})
    return web


def _model_changes(base: AppConfig, options: argparse.Namespace) -> dict[str, Any]:
    model = {key: getattr(base.model, key) for key in type(base.model).model_fields}
    if options.model is not None:
        as_folder = os.path.isdir(os.path.expanduser(options.model))
        model.update(folder=Path(options.model) if as_folder else None, name=None if as_folder else options.model)
    if options.threads is not None:
        model["threads"] = options.threads
    backend = getattr(options, "backend", None)  # not every command that loads a model has it
    if backend is not None:
        model["backend"] = backend
    detector = {key: getattr(base.detector, key) for key in type(base.detector).model_fields}
    given = {"name": options.detector, "weights": options.detector_weights}
    detector.update({key: value for key, value in given.items() if value is not None})
    return {"model": model, "detector": detector}
