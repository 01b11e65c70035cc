"""The README's tree and the disk agree: every line has a caption and exists, every source file is in it.

In the tree a line is a path and its caption, two or more spaces apart, indented under its folder. A folder that has a
caption of its own and no lines below it stands for everything in it.
"""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("*.py", "*.toml", "*.lock", "Makefile", ".ci/run", "*.md", "LICENSE")


def tree_of(text: str) -> dict[str, str]:
    """Path -> caption of the indented block under the README's heading 'The house'."""
    section = text.split("\n## The house\n", 1)[1].split("\n## ", 1)[0]
    captions: dict[str, str] = {}
    folders: list[tuple[int, str]] = []
    for line in section.splitlines():
        found = re.match(r"^( {4,})(\S+)(?: {2,}(\S.*))?$", line)
        if not found:
            continue
        indent, name, caption = len(found[1]), found[2], found[3] or ""
        while folders and folders[-1][0] >= indent:
            folders.pop()
        path = "".join(folder for _, folder in folders) + name
        if path in captions:
            raise ValueError(f"{path} stands twice in the README's tree")
        captions[path] = caption
        if name.endswith("/"):
            folders.append((indent, name))
    return captions


def tracked() -> list[str]:
    """Source files that are, or are about to be, in the repository."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *SOURCES], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout.split("\n")
    return sorted(name for name in listed if name and (ROOT / name).is_file())


def uncovered(files: list[str], tree: dict[str, str]) -> list[str]:
    """The files that neither stand in the tree nor lie in a folder that stands there alone."""
    closed = tuple(path for path in tree if path.endswith("/") and not any(
        other != path and other.startswith(path) for other in tree))
    return [name for name in files if name not in tree and not (closed and name.startswith(closed))
            and not any("*" in path and Path(name).match(path) for path in tree)]


@pytest.fixture(scope="module")
def tree() -> dict[str, str]:
    return tree_of((ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_tree_is_there(tree):
    assert len(tree) > 40


def test_every_line_has_a_caption_and_exists(tree):
    assert [path for path, caption in tree.items() if len(caption) < 3] == []
    assert [path for path in tree if not (list(ROOT.glob(path)) if "*" in path else (ROOT / path).exists())] == []


def test_every_source_file_is_in_the_tree(tree):
    files = [name for name in tracked() if not name.endswith("__init__.py")]
    assert uncovered(files, tree) == []


def test_the_reading_of_trees():
    lines = ["", "## The house", "", "    a.py      the first", "    room/     a room", "      b.py    the second",
             "    tests/    all of them", ""]
    text = "\n".join(lines)
    tree = tree_of(text)
    assert tree == {"a.py": "the first", "room/": "a room", "room/b.py": "the second", "tests/": "all of them"}
    assert uncovered(["a.py", "room/b.py", "room/c.py", "tests/test_a.py"], tree) == ["room/c.py"]
    with pytest.raises(ValueError, match="twice"):
        tree_of(text + "    a.py      again\n")
