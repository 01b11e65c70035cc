"""Weights on disk: a .safetensors file with a .json beside it that names its size, hash and origin.

The only loader of weights in the project, for perception and policies alike: nothing in a file is ever executed, and
everything read is checked (schema, hash, tensor names and shapes) before it is used. Writing is atomic: killed at any
moment, the pair on disk is the old one or the new one. It does not know what the tensors mean.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as bytes_from_tensors
from torch import Tensor, nn

SCHEMA_VERSION = 1
LARGEST_BYTES = 1 << 30  # a file above this is refused unread; our largest is a few megabytes
LONG = 500  # numbers from which on a tensor is shipped as float16


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written; the message is one sentence that names the file and the way out."""


def save(stem: str | Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    """Write `<stem>.safetensors` and `<stem>.json` atomically and return the path of the latter.

    `meta` is plain JSON data of the caller's. Raises CheckpointError when a tensor holds NaN or infinity, or when
    `meta` is not JSON.
    """
    weights_path, json_path, next_path = _paths(stem)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"tensor {name} holds NaN or infinity; {weights_path} was not written")
    data = bytes_from_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    try:
        text = json.dumps(meta, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the description of {weights_path} is not plain JSON ({error}); "
                              "give numbers, strings, lists and dicts") from error
    card = {"schema": SCHEMA_VERSION, "weights": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()},
            "meta_sha256": hashlib.sha256(text.encode()).hexdigest(), "meta": json.loads(text)}
    json_path.parent.mkdir(parents=True, exist_ok=True)
    # The JSON is the commit point: until it is renamed the old pair holds, after it the weights are found as .next.
    _write_synced(next_path, data)
    replace_file(json_path, (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
    os.replace(next_path, weights_path)
    return json_path


def load(stem: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the `meta` written by `save`. Raises CheckpointError for anything missing, cut or altered."""
    weights_path, json_path, next_path = _paths(stem)
    card = _read_card(json_path)
    for path in (weights_path, next_path):
        data = _read_limited(path) if path.is_file() else b""
        if len(data) == card["weights"]["bytes"] and hashlib.sha256(data).hexdigest() == card["weights"]["sha256"]:
            return tensors_from_bytes(data), card["meta"]
    if not weights_path.is_file():
        raise CheckpointError(f"{weights_path} is missing beside {json_path.name}; copy both files, or train again")
    raise CheckpointError(f"{weights_path} is cut or altered: its size or hash is not the one in {json_path.name}; "
                          "fetch it again, or train again")


def fingerprint(stem: str | Path) -> str:
    """SHA-256 of a checkpoint's weights, as its card states it; `load` proves that they are the same."""
    return str(_read_card(_paths(stem)[1])["weights"]["sha256"])


def exists(stem: str | Path) -> bool:
    """Whether a checkpoint was ever written there (it may still be refused by `load`)."""
    return _paths(stem)[1].is_file()


def restore(module: nn.Module, tensors: dict[str, Tensor], source: str | Path) -> None:
    """Copy tensors into a module of the same names and shapes, else raise CheckpointError naming the first odd one."""
    wanted = module.state_dict()
    for name in sorted(set(wanted) ^ set(tensors)):
        state = "lacks" if name in wanted else "has an unknown"
        raise CheckpointError(f"{source} {state} tensor {name}; it belongs to another network, train again")
    for name, tensor in wanted.items():
        if tensor.shape != tensors[name].shape:
            raise CheckpointError(f"{source} has {name} of shape {tuple(tensors[name].shape)}, the network needs "
                                  f"{tuple(tensor.shape)}; it was trained with other settings, train again")
    module.load_state_dict(tensors)


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as float16, as networks are shipped; `restore` makes them whole again.

    Counters stay, and so do short tensors: they cost no space, and scales in metres need their digits.
    """
    return {name: tensor.half() if tensor.is_floating_point() and tensor.numel() >= LONG else tensor
            for name, tensor in tensors.items()}


def plain(values: Any) -> Any:
    """Numbers to four decimals as JSON has them, nan as None, nested as they were."""
    if isinstance(values, dict):
        return {name: plain(value) for name, value in values.items()}
    if isinstance(values, float):
        return round(float(values), 4) if math.isfinite(values) else None
    return values


def replace_file(path: Path, data: bytes) -> None:
    """Write a whole file so that a reader, or a kill, sees the old content or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _write_synced(temporary, data)
    os.replace(temporary, path)


def _paths(stem: str | Path) -> tuple[Path, Path, Path]:
    """The weights, the JSON, and the weights' name between the two renames of `save`."""
    base = Path(stem)
    return (base.with_name(f"{base.name}.safetensors"), base.with_name(f"{base.name}.json"),
            base.with_name(f"{base.name}.safetensors.next"))


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_limited(path: Path) -> bytes:
    if path.stat().st_size > LARGEST_BYTES:
        raise CheckpointError(f"{path} is larger than {LARGEST_BYTES} bytes; that is no checkpoint of this project")
    return path.read_bytes()


def _read_card(path: Path) -> dict[str, Any]:
    """The checked JSON side of a checkpoint."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; give the path of a checkpoint without its ending, or train one")
    try:
        card = json.loads(_read_limited(path).decode())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is cut or no JSON; fetch it again, or train again") from error
    if not isinstance(card, dict) or card.get("schema") != SCHEMA_VERSION:
        found = card.get("schema") if isinstance(card, dict) else None
        raise CheckpointError(f"{path} has schema {found}, this program reads {SCHEMA_VERSION}; train again")
    weights, meta = card.get("weights"), card.get("meta")
    if not isinstance(weights, dict) or not isinstance(meta, dict) or {"bytes", "sha256"} - set(weights):
        raise CheckpointError(f"{path} lacks its entries weights and meta; fetch it again, or train again")
    if hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest() != card.get("meta_sha256"):
        raise CheckpointError(f"{path} was edited: its description does not match its hash; fetch it again")
    return card
