"""Every command that the README, the model card and the Makefile tell can be typed: its options exist and are legal."""

import re
import shlex
from pathlib import Path

import pytest

import nanodrive

ROOT = Path(__file__).parents[1]
TOLD_IN = ("README.md", "Makefile", "perception/weights/README.md", "CONTRIBUTING.md")
COMMAND = re.compile(r"^(?:\t\$\(BIN\)/|    )nanodrive (.+)$", re.MULTILINE)


def told():
    """(where, the options) of every indented command, lines that end with a backslash joined."""
    for name in TOLD_IN:
        text = (ROOT / name).read_text().replace("\\\n", " ")
        yield from ((name, shlex.split(match[1], comments=True)) for match in COMMAND.finditer(text))


@pytest.mark.parametrize(("where", "arguments"), told(), ids=lambda value: value if isinstance(value, str) else None)
def test_a_told_command_is_understood(where, arguments):
    command, options = nanodrive.COMMANDS[arguments[0]], arguments[1:]
    for flag in command.variants.keys() & set(options):
        command = command.variants[flag]
        options.remove(flag)
    config_class, _ = command.load()
    config, complaint = nanodrive._parse(config_class, "nanodrive", command.summary, options)
    assert isinstance(config, config_class), f"{where}: {complaint}"


def test_commands_are_found():
    where = [name for name, _ in told()]
    assert where.count("README.md") >= 17 and where.count("Makefile") >= 10
    assert where.count("perception/weights/README.md") >= 8
