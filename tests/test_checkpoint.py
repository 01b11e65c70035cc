"""Weights survive the disk bit for bit, a kill at any moment, and are refused in one sentence when anything is odd."""

import json
import os

import pytest
import torch
from torch import nn

from perception import checkpoint
from perception.checkpoint import CheckpointError

TENSORS = {"a": torch.arange(12.0).reshape(3, 4) / 7, "b": torch.tensor([1, 2, 3])}
META = {"kind": "test", "figures": [0.1, 2, None]}


@pytest.fixture
def stem(tmp_path):
    checkpoint.save(tmp_path / "run" / "net", TENSORS, META)
    return tmp_path / "run" / "net"


def test_round_trip_is_bit_equal(stem):
    tensors, meta = checkpoint.load(stem)
    assert meta == META
    assert set(tensors) == set(TENSORS)
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype and torch.equal(tensor, TENSORS[name])
    assert sorted(p.name for p in stem.parent.iterdir()) == ["net.json", "net.safetensors"]


def cut_weights(stem):
    path = stem.with_name("net.safetensors")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_bit(stem):
    path = stem.with_name("net.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


def edit_meta(stem):
    path = stem.with_name("net.json")
    path.write_text(path.read_text().replace('"test"', '"best"'))


def other_schema(stem):
    path = stem.with_name("net.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))


DAMAGE = {
    "weights cut in half": (cut_weights, "cut or altered"),
    "one bit flipped": (flip_bit, "cut or altered"),
    "weights missing": (lambda stem: stem.with_name("net.safetensors").unlink(), "missing"),
    "json missing": (lambda stem: stem.with_name("net.json").unlink(), "missing"),
    "json cut": (lambda stem: stem.with_name("net.json").write_text('{"schema": 1, "wei'), "no JSON"),
    "json empty": (lambda stem: stem.with_name("net.json").write_text(""), "no JSON"),
    "json binary": (lambda stem: stem.with_name("net.json").write_bytes(b"\xff\xfe\x00\x01"), "no JSON"),
    "json a list": (lambda stem: stem.with_name("net.json").write_text("[]"), "schema"),
    "json without entries": (lambda stem: stem.with_name("net.json").write_text('{"schema": 1}'), "lacks"),
    "description edited": (edit_meta, "edited"),
    "other schema": (other_schema, "schema 99"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused_in_one_sentence(stem, damage):
    hurt, words = DAMAGE[damage]
    hurt(stem)
    with pytest.raises(CheckpointError, match=words) as caught:
        checkpoint.load(stem)
    assert "\n" not in str(caught.value) and str(stem) in str(caught.value)


@pytest.mark.parametrize("renames_before_kill", [0, 1])
def test_kill_during_save_leaves_a_whole_pair(stem, monkeypatch, renames_before_kill):
    """Killed before either rename of the second save: one of the two checkpoints loads, whole."""
    done = []
    real = os.replace

    def replace(source, target):
        if len(done) == renames_before_kill:
            raise KeyboardInterrupt
        done.append(target)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(stem, {"a": torch.zeros(5)}, {"kind": "second"})
    tensors, meta = checkpoint.load(stem)
    if renames_before_kill == 0:
        assert meta == META and torch.equal(tensors["a"], TENSORS["a"])
    else:
        assert meta == {"kind": "second"} and torch.equal(tensors["a"], torch.zeros(5))


def test_nan_weights_are_never_written(tmp_path):
    with pytest.raises(CheckpointError, match="NaN"):
        checkpoint.save(tmp_path / "net", {"a": torch.tensor([1.0, float("nan")])}, {})
    assert not checkpoint.exists(tmp_path / "net")


def test_description_must_be_json(tmp_path):
    with pytest.raises(CheckpointError, match="JSON"):
        checkpoint.save(tmp_path / "net", TENSORS, {"where": object()})


def test_restore_names_the_odd_tensor():
    net = nn.Linear(2, 3)
    checkpoint.restore(net, {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}, "net")
    assert torch.equal(net(torch.ones(1, 2)), torch.full((1, 3), 2.0))
    with pytest.raises(CheckpointError, match="shape"):
        checkpoint.restore(net, {"weight": torch.ones(2, 2), "bias": torch.zeros(3)}, "net")
    with pytest.raises(CheckpointError, match="lacks tensor bias"):
        checkpoint.restore(net, {"weight": torch.ones(3, 2)}, "net")
    with pytest.raises(CheckpointError, match="unknown tensor c"):
        checkpoint.restore(net, {"weight": torch.ones(3, 2), "bias": torch.zeros(3), "c": torch.ones(1)}, "net")


def test_long_tensors_are_shipped_as_halves_and_short_ones_whole():
    tensors = {"weight": torch.linspace(-1, 1, 1000), "scale": torch.tensor([36.0123]), "count": torch.tensor([7])}
    small = checkpoint.halved(tensors)
    assert small["weight"].dtype == torch.float16 and small["count"].dtype == torch.int64
    assert torch.equal(small["scale"], tensors["scale"])
    assert (small["weight"].float() - tensors["weight"]).abs().max() < 1e-3
