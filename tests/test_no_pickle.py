"""Files are data, never code: no module of the project may import or call what executes a file's content."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("scenarios", "envs", "perception", "agents")
MODULES = sorted(p for p in [*ROOT.glob("*.py"), *(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))])
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "yaml", "shelve", "marshal"}
FORBIDDEN_CALLS = {"torch.load", "torch.save", "torch.jit.load", "torch.package.PackageImporter", "eval", "exec",
                   "numpy.lib.format.read_array", "PPO.load", "BaseAlgorithm.load"}


def faults(source: str) -> list[str]:
    """What a module does that could run code from a file."""
    tree, found = ast.parse(source), []
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                names[alias.asname or root] = alias.name if alias.asname else root
                found += [f"imports {alias.name}"] if root in FORBIDDEN_IMPORTS else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {(alias.asname or alias.name): f"{node.module}.{alias.name}" for alias in node.names}
            if node.module.split(".")[0] in FORBIDDEN_IMPORTS:
                found.append(f"imports from {node.module}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            head, _, rest = called.partition(".")
            called = names.get(head, head) + ("." + rest if rest else "")
            if called in FORBIDDEN_CALLS or called.endswith("PPO.load"):
                found.append(f"calls {called}")
            found += [f"passes {key.arg} to {called}" for key in node.keywords
                      if key.arg in ("allow_pickle", "weights_only") and not _is_false(key)]
    return found


def _is_false(key: ast.keyword) -> bool:
    return key.arg == "allow_pickle" and isinstance(key.value, ast.Constant) and key.value.value is False


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_runs_no_code_from_files(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize("source", [
    "import pickle", "from cloudpickle import loads", "import yaml as y", "import torch\ntorch.load('x')",
    "from torch import load\nload('x')", "import torch as t\nt.load('x')",
    "import numpy as np\nnp.load('x', allow_pickle=True)", "import numpy as np\nf = True\nnp.load('x', allow_pickle=f)",
    "from stable_baselines3 import PPO\nPPO.load('x.zip')", "eval(open('x').read())",
])
def test_guard_sees_each_way(source):
    assert faults(source)


def test_guard_lets_data_pass():
    assert faults("import numpy as np\nnp.load('x', allow_pickle=False)") == []
    assert faults("from safetensors.torch import load\nload(b'')") == []


def test_tree_is_found():
    assert len(MODULES) > 10
