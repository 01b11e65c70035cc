"""Compiled kernels belong to the source of all of them."""

from pathlib import Path

from envs.geometry import project
from envs.kernels import PREFIX, digest
from envs.render.raster import _draw


def test_kernels_lie_in_the_folder_of_their_source():
    for kernel in (project, _draw):
        assert f"{PREFIX}{digest()}" in Path(kernel.stats.cache_path).parts


def test_any_compiled_file_counts_and_no_other(tmp_path):
    (tmp_path / "a.py").write_text("from numba import njit\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.py").write_text("from x import kernel\n@kernel\ndef f(): ...\n")
    (tmp_path / "c.py").write_text("plain = 1\n")
    seen = [digest(tmp_path)]
    for name in ("a.py", "deep/b.py", "c.py"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "# changed\n")
        seen.append(digest(tmp_path))
    assert len(set(seen[:3])) == 3 and seen[3] == seen[2]
