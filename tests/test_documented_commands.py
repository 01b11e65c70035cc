"""Every command that the README, the model card and the Makefile tell can be typed: its options exist and are legal."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

import nanodrive
from perception import checkpoint

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
    command, program, options = nanodrive.meant(arguments)
    config_class, _ = command.load()
    config, complaint = nanodrive._parse(config_class, program, command.summary, options)
    assert isinstance(config, config_class), f"{where}: {complaint}"


def test_commands_are_found():
    where = [name for name, _ in told()]
    assert where.count("README.md") >= 17 and where.count("Makefile") >= 10
    assert where.count("perception/weights/README.md") >= 8


# what `make perception` is made small by: the value of each flag, and flags more
SMALL = {"--train-frames": "60", "--val-frames": "20", "--frames-per-town": "5", "--epochs": "1", "--steps": "3",
         "--epoch-steps": "3", "--val-scenes": "3", "--scapes": "40", "--towns": "20",
         "--weights": str(ROOT / "perception" / "weights" / "perception")}  # one that finds things
MORE = {"--train": ["--batch", "8", "--epochs", "1"], "--train-path": ["--batch", "8", "--epochs", "1"],
        "--train-glimpse": ["--batch", "8", "--epochs", "1"],
        "--train-namer": ["--preset", "smoke"], "--train-lights": ["--batch", "4"], "--train-road": ["--batch", "4"]}


@pytest.mark.exhaustive
def test_every_network_from_nothing(tmp_path, monkeypatch, capfd):
    """`make perception` in small: each of its commands finds what those before it left, and leaves a network."""
    monkeypatch.chdir(tmp_path)
    for where, arguments in told():
        if where == "Makefile" and arguments[0] in ("generate", "perceive"):
            small = [arguments[0], *(SMALL.get(flag, value) for flag, value in pairwise(arguments))]
            for flag in MORE.keys() & set(small):
                small += MORE[flag]
            assert all(checkpoint.load(value) for flag, value in pairwise(arguments) if flag == "--weights")
            assert nanodrive.main(small) == 0, (small, capfd.readouterr().err)
    for name in ("perception/perception", "path/perception", "glimpse/glimpse", "reader/namer", "namer/namer",
                 "scout/scout", "lights/lights", "road/road"):
        checkpoint.load(tmp_path / "runs" / name)
