"""``unmask purge``."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from stream.commands.arguments import Commands, positive
from stream.errors import UsageError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "purge",
        help="delete kept evidence of alerts",
        description="Delete evidence of alerts, all of which the choices hold; what is deleted is told and recorded.",
    )
    parser.add_argument("--older-than", type=positive, metavar="DAYS", help="of alerts that fired longer ago")
    parser.add_argument("--stream", metavar="NAME", help="of this stream")
    parser.add_argument("--alert", metavar="ID", help="of this alert: its id, or its folder's name")
    parser.add_argument("--all", action="store_true", dest="takes_all", help="everything")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", type=Path, metavar="FILE", help="the configuration that names the evidence folder")
    where.add_argument("--folder", type=Path, metavar="DIR", help="the evidence folder itself")
    parser.set_defaults(run=_purge)


def _purge(options: argparse.Namespace) -> int:
    import time

    from stream.config import load_config
    from stream.config_evidence import EvidenceConfig
    from stream.evidence.chain import CommandRecord, open_record
    from stream.evidence.chain_line import LOG_FOLDER
    from stream.evidence.purge import handed_in_line, lines_of, purge
    from stream.evidence.retention import Wish, no_record

    kept = EvidenceConfig(folder=options.folder) if options.config is None else load_config(options.config).evidence
    root = kept.folder
    if root is None:
        raise UsageError(f"{options.config} keeps no evidence: set evidence.folder, or give --folder")
    wish = Wish(options.older_than, options.stream, options.alert, options.takes_all)
    no_log = nullcontext(CommandRecord(no_record))
    with no_log if options.dry_run else open_record(root / LOG_FOLDER, kept.key) as record:
        folders = purge(root, wish, time.time(), record, is_rehearsal=options.dry_run)
    print("\n".join(lines_of(folders, is_rehearsal=options.dry_run)))
    if folders and record.is_handed_in:
        print(handed_in_line(root / LOG_FOLDER))
    return 0
