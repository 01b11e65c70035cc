"""The house keeps its order: no room imports to its right, one door per big dependency, no import cycle."""

import ast
import functools
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("scenarios", "envs", "perception", "agents")
MAINS = ("nanodrive", "train_agent")
EXEMPT = {"scenarios/replay.py": {"envs"}}  # a leaf that draws what a recording holds
DOORS = {  # package: the files (or folders) that may import it
    "pybullet": ("envs/physics.py", "envs/render/bullet.py"),
    "numba": ("envs/kernels.py", "envs/geometry.py", "envs/traffic.py", "envs/drivers/", "envs/vehicle.py",
              "envs/labels.py", "envs/render/", "envs/roads/pavements.py", "envs/gaps.py"),
    "torch": ("perception/", "agents/imitate.py", "agents/ppo.py", "agents/policies.py", "agents/features.py",
              "agents/fleet.py"),
    "stable_baselines3": ("agents/ppo.py", "agents/rollouts.py"),
    "ray": ("agents/rollouts.py",),
    "safetensors": ("perception/checkpoint.py",),
    "onnx": ("perception/export.py", "perception/perceiver.py", "perception/portable.py"),
    "onnxruntime": ("perception/export.py", "perception/perceiver.py", "perception/quantise.py"),
    "pickle": (), "cloudpickle": (), "yaml": (),
}
INNERMOST_TORCH = ("perception/generate.py", "perception/drives.py")  # frames are made without the network
WORLDLY = {"envs.world", "envs.physics", "envs.vehicle"}  # what cameras, labels, rules and scores must not need
PURE = ("envs/labels.py", "envs/rules.py", "envs/reward.py", "envs/metrics.py")
PROGRAMS = ("envs/render/sheet.py",)  # run by a person, imported by nobody

FILES = sorted(path.relative_to(ROOT).as_posix() for path in [
    *(ROOT / f"{name}.py" for name in MAINS), *(p for room in LAYERS for p in (ROOT / room).rglob("*.py"))])


@functools.cache
def imported(source: str, is_nested_too: bool = True) -> frozenset[str]:
    """Dotted names of the modules that a source text imports; with `is_nested_too` also those inside functions."""
    tree = ast.parse(source)
    found: set[str] = set()
    for node in ast.walk(tree) if is_nested_too else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write imports in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return frozenset(found)


def imports(name: str, is_nested_too: bool = True) -> frozenset[str]:
    """What a file of the project imports."""
    return imported((ROOT / name).read_text(encoding="utf-8"), is_nested_too)


def test_every_room_is_looked_at():
    assert len(FILES) > 30
    assert {name.split("/")[0] for name in FILES} == {*LAYERS, *(f"{name}.py" for name in MAINS)}


@pytest.mark.parametrize("name", [name for name in FILES if "/" in name])
def test_nothing_imports_to_its_right(name):
    room = name.split("/")[0]
    right = {*LAYERS[LAYERS.index(room) + 1:], *MAINS} - EXEMPT.get(name, set())
    assert not {module for module in imports(name) if module.split(".")[0] in right}


@pytest.mark.parametrize("package", DOORS)
def test_one_door_per_dependency(package):
    users = [name for name in FILES if any(module.split(".")[0] == package for module in imports(name))]
    assert not [name for name in users if name != "train_agent.py" and not name.startswith(DOORS[package] or ("-",))]
    if package == "torch":
        assert not [name for name in INNERMOST_TORCH if name in users]


def test_train_agent_only_sets_the_threads_of_torch():
    """The story may say how many threads learn; it builds no tensor."""
    assert "torch" not in imports("train_agent.py", is_nested_too=False)
    lines = [line for line in (ROOT / "train_agent.py").read_text(encoding="utf-8").splitlines() if "torch." in line]
    assert all("torch.set_num_threads(" in line for line in lines)


@pytest.mark.parametrize("name", [
    n for n in FILES if n in PURE or (n.startswith("envs/render/") and n not in PROGRAMS)])
def test_cameras_labels_rules_and_scores_need_no_physics(name):
    assert not imports(name) & WORLDLY


def test_programs_are_leaves():
    modules = {name.removesuffix(".py").replace("/", ".") for name in PROGRAMS}
    assert not [name for name in FILES if imports(name) & modules]


def test_no_import_cycle():
    """Over imports at the head of a file; those inside functions happen when everything is loaded."""
    modules = {name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): name for name in FILES}
    graph = networkx.DiGraph((module, other) for module, name in modules.items()
                             for other in imports(name, is_nested_too=False) if other in modules and other != module)
    assert list(networkx.simple_cycles(graph)) == []


def test_the_reading_of_imports():
    source = "import torch.nn\ndef f():\n    from agents import ppo\n"
    assert imported(source) == {"torch.nn", "agents", "agents.ppo"}
    assert imported(source, is_nested_too=False) == {"torch.nn"}
