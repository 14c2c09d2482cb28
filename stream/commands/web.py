"""``unmask web user``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stream.commands.arguments import Commands
from stream.errors import UsageError


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    actions = commands.add_parser("web", help="who may use the live page").add_subparsers(required=True)
    user = actions.add_parser(
        "user",
        help="add or change a user of the live page, or remove one",
        description="Add a user, or change one's password, token or role. The password is asked for, or read from "
        "standard input; the file keeps only what it is checked against.",
    )
    user.add_argument("name", metavar="NAME")
    user.add_argument("--users", type=Path, required=True, metavar="FILE", help="the file that web.users names")
    user.add_argument("--role", choices=("viewer", "operator", "admin"), help="needed for a new user")
    what = user.add_mutually_exclusive_group()
    what.add_argument("--token", action="store_true", help="make a token for a program, in place of a password")
    what.add_argument("--keep-password", action="store_true", help="change the role only")
    what.add_argument("--remove", action="store_true", help="this user may log in no more")
    user.set_defaults(run=_web_user)


def _web_user(options: argparse.Namespace) -> int:
    from stream.web.users import changed_user, new_token, removed_user

    if options.remove:
        removed_user(options.users, options.name)
        print(f"removed  {options.name}")
        return 0
    token = new_token() if options.token else None
    password = None if options.token or options.keep_password else _asked_password(options.name)
    user = changed_user(options.users, options.name, options.role, password=password, token=token)
    print(f"written  {user.name}, {user.role.word}, to {options.users}")
    if token is not None:
        print(f"token    {token}\nit is not shown again; send it as `Authorization: Bearer TOKEN`")
    return 0


def _asked_password(name: str) -> str:
    """Twice without an echo, or the first line of what is piped in."""
    import getpass

    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass(f"password for {name}: ")
    if getpass.getpass("once more: ") != password:
        raise UsageError("the two differ: try again")
    return password
