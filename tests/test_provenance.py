"""Where figures come from."""

import hashlib
import os

import numpy as np
import pytest

from agents import provenance


def test_versions_name_what_runs_here():
    found = provenance.versions()
    assert found["numpy"] == np.__version__ and found["python"].startswith("3.")
    assert set(provenance.PACKAGES) < set(found)


def test_a_package_that_is_not_installed_is_source(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package-here",))
    assert provenance.versions()["no-such-package-here"] == "source"


def test_machine_is_this_one():
    machine = provenance.machine()
    assert 1 <= machine["num_cpus"] <= (os.cpu_count() or 1)
    assert 0.1 < machine["memory_gib"] < 10_000 and machine["processor"] and machine["system"]


def test_hash_of_a_file(tmp_path):
    (tmp_path / "weights").write_bytes(b"abc" * 100_000)
    assert provenance.file_sha256(tmp_path / "weights") == hashlib.sha256(b"abc" * 100_000).hexdigest()
    with pytest.raises(FileNotFoundError):
        provenance.file_sha256(tmp_path / "nothing")
