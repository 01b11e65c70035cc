"""Every row of every table keeps the contract of its table."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from test_pieces import ARGUMENTS

import nanodrive
from agents.policies import POLICIES, Policy, load_policy
from envs.config import CameraConfig, DriveConfig
from envs.driving_env import DrivingEnv
from envs.render.camera import RENDERERS, Frame, pose_of
from envs.render.scene import SemanticClass, build_scene
from envs.reward import ENDS, FACTORS, INFRACTION_ENDS, reward
from envs.roads.pieces import PIECES, JunctionPiece
from envs.roads.sockets import RoadPiece, Socket
from envs.signs import SIGN_INDEX, SIGNS, face
from perception.dataset import targets
from perception.model import DriveNet, band_of, glance_of
from perception.tasks import TASKS
from scenarios.spec import Scenario
from tests.made_labels import full

SCENARIO = Scenario(name="contract", town_seed=3, route_min_m=60.0, route_max_m=90.0, parked_cars_per_km=0.0)
CAMERA = CameraConfig(width_px=96, height_px=48)


@pytest.fixture(scope="module")
def state():
    env = DrivingEnv(DriveConfig(renderer="none"))
    env.reset(seed=0, options={"scenario": SCENARIO})
    env.close()
    return env.state


@pytest.mark.parametrize("name", PIECES)
def test_piece(name):
    """A piece begins at its socket, says its name, and paves a simple counter-clockwise area of finite size."""
    piece = PIECES[name](Socket(10.0, -4.0, 0.7), *ARGUMENTS[name])
    assert isinstance(piece, RoadPiece | JunctionPiece)
    assert piece.name == name
    outline = piece.outline_m
    x, y = outline.T
    area = 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    assert 50.0 < area < 2000.0, "counter-clockwise and of a road's size [m2]"
    if isinstance(piece, RoadPiece):
        np.testing.assert_allclose(piece.line[0, :2], [10.0, -4.0])
        assert np.hypot(*np.diff(piece.line[:, :2], axis=0).T).max() <= 2.001
    else:
        arms = [socket for socket in piece.sockets if socket is not None]
        assert 3 <= len(arms) <= 4
        assert all(np.hypot(socket.x_m - 10.0, socket.y_m + 4.0) < 30.0 for socket in arms)


@pytest.mark.parametrize("row", range(len(SIGNS)), ids=[sign.name for sign in SIGNS])
def test_sign(row):
    """A sign has a unique name and GTSRB class, a real size, a convex outline, and a face that differs from others."""
    sign = SIGNS[row]
    assert SIGN_INDEX[sign.name] == row
    assert [other.gtsrb_class for other in SIGNS].count(sign.gtsrb_class) == 1 and 0 <= sign.gtsrb_class < 43
    assert 0.3 <= sign.size_m <= 1.2 and sign.meaning
    assert sign.speed_mps is None or 5 < sign.speed_mps < 40
    edges = np.roll(sign.outline, -1, 0) - sign.outline
    turns = edges[:, 0] * np.roll(edges, -1, 0)[:, 1] - edges[:, 1] * np.roll(edges, -1, 0)[:, 0]
    assert np.all(turns > -1e-9) or np.all(turns < 1e-9)
    assert sign.outline.min() >= -1e-6 and sign.outline.max() <= 1 + 1e-6
    picture = face(row, 64)
    assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
    for other in set(range(len(SIGNS))) - {row}:
        assert np.abs(picture.astype(int) - face(other, 64)).mean() > 2.0


@pytest.mark.parametrize("name", RENDERERS)
def test_renderer(name, state):
    """A renderer gives frames of the camera's size and the types of `Frame`, the same twice, and can be closed."""
    renderer = RENDERERS[name](CAMERA)
    frames = [renderer.render(build_scene(state), pose_of(CAMERA, state.ego)) for _ in range(2)]
    renderer.close()
    for frame in frames:
        assert isinstance(frame, Frame)
        assert (frame.rgb.shape, frame.rgb.dtype) == ((48, 96, 3), np.uint8)
        assert (frame.class_id.shape, frame.class_id.dtype) == ((48, 96), np.uint8)
        assert (frame.instance_id.shape, frame.instance_id.dtype) == ((48, 96), np.uint16)
        assert (frame.depth_m.shape, frame.depth_m.dtype) == ((48, 96), np.float32)
        assert frame.class_id.max() <= max(SemanticClass)
        sky = frame.class_id == SemanticClass.SKY
        assert np.all(np.isinf(frame.depth_m[sky])) and np.all(np.isfinite(frame.depth_m[~sky]))
        if name != "none":
            assert frame.class_id[-4:, 40:56].max() in (SemanticClass.ROAD, SemanticClass.MARKING)
    for field in dataclasses.fields(Frame):
        assert np.array_equal(getattr(frames[0], field.name), getattr(frames[1], field.name))


@pytest.fixture(scope="module")
def seen():
    """Outputs of an untrained network on noise, and the targets of a made-up frame."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DriveNet().train()
        images = torch.randint(0, 256, (2, 160, 320, 3), dtype=torch.uint8)
    wanted = targets(full(2), np.arange(2), CameraConfig())
    outputs = net.look(glance_of(images), band_of(images), wanted["command"])
    return net, outputs, wanted


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_task(task, seen):
    """A task's name is unique, its weight positive, its loss one finite number that teaches the network something."""
    net, outputs, wanted = seen
    assert [other.name for other in TASKS].count(task.name) == 1 and task.weight > 0
    loss = task.loss(outputs, wanted)
    assert loss.shape == () and torch.isfinite(loss)
    gradients = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("name", POLICIES)
def test_policy(name):
    """A driver declares whether it is privileged, answers with two finite numbers in [-1, 1], and is repeatable."""
    config = DriveConfig(camera=CAMERA, renderer="none")
    policy, env = load_policy(name, config), DrivingEnv(config)
    assert isinstance(policy, Policy) and isinstance(policy.privileged, bool)
    drives = []
    for _ in range(2):
        observation, _ = env.reset(seed=5, options={"scenario": SCENARIO})
        policy.reset()
        actions = []
        for _ in range(5):
            actions.append(policy.act(observation, env.state if policy.privileged else None))
            assert actions[-1].shape == (2,) and actions[-1].dtype == np.float32
            assert env.action_space.contains(actions[-1])
            observation = env.step(actions[-1])[0]
        drives.append(np.stack(actions))
    env.close()
    assert np.array_equal(*drives)


@pytest.mark.parametrize("name", FACTORS)
def test_reward_factor(name, state):
    """A factor is 1 for a car that stands well in its lane, and its name is a term of the reward."""
    env = DrivingEnv(DriveConfig(renderer="none"))
    env.reset(seed=0, options={"scenario": SCENARIO})
    env.close()
    assert 0.9 <= FACTORS[name](env.facts, env.config.reward) <= 1.0
    assert name in reward(env.facts, env.config.reward)[1]


def test_ends_name_rows():
    assert all(name in INFRACTION_ENDS for names in ENDS.values() for name in names)


@pytest.mark.parametrize("name", nanodrive.COMMANDS)
def test_command(name):
    """A command has a summary, a frozen dataclass of settings with a help text for each, and a function of it alone."""
    command = nanodrive.COMMANDS[name]
    assert 10 < len(command.summary) < 80 and command.summary[0].islower()
    for config_class, run in [command.load(), *(variant.load() for variant in command.variants.values())]:
        assert dataclasses.is_dataclass(config_class) and config_class.__dataclass_params__.frozen
        assert len(inspect.signature(run).parameters) == 1 and run.__doc__
        source = inspect.getsource(config_class)
        for field in dataclasses.fields(config_class):
            after = source.split(f"\n    {field.name}:", 1)[1].split("\n", 1)[1].lstrip()
            is_group = dataclasses.is_dataclass(field.default_factory)  # its own fields have the help
            assert after.startswith('"""') or is_group, f"{config_class.__name__}.{field.name} has no help"
