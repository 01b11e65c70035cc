"""The world's instant as frozen values: what physics produced, and all that cameras, labels, rules and scores may read.

A `WorldState` refers to its `Town` and `Route`, which never change during an episode, so that every consumer is a pure
function of one value and works on recorded states without physics.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

import numpy as np

from envs.geometry import Array
from envs.roads.network import RoadNetwork
from envs.roads.routes import Route
from envs.weather import CLEAR, Weather


class ActionError(ValueError):
    """An action that cannot be executed (wrong shape or not finite)."""


@dataclass(frozen=True)
class Control:
    """One action: `steer` in [-1, 1], left positive; `drive` in [-1, 1], positive throttle, negative brake."""

    steer: float
    drive: float

    @staticmethod
    def from_action(action: object) -> Control:
        """Check an action of shape (2,): refused with ActionError if not finite or of another shape, else clipped."""
        array = np.asarray(action, dtype=np.float64)
        if array.shape != (2,):
            raise ActionError(f"action has shape {array.shape}; give (2,): steer and drive")
        if not np.isfinite(array).all():
            raise ActionError(f"action is {array.tolist()}; give finite numbers from -1 to 1")
        return Control(*np.clip(array, -1.0, 1.0).tolist())


@dataclass(frozen=True)
class VehicleState:
    """The ego car. Pose of the point on the ground under the rear axle (ISO 8855); velocities in the ego frame."""

    x_m: float
    y_m: float
    yaw_rad: float
    roll_rad: float = 0.0
    pitch_rad: float = 0.0
    speed_mps: float = 0.0  # longitudinal, negative when rolling backwards
    lateral_speed_mps: float = 0.0  # to the left, at the rear axle
    yaw_rate_radps: float = 0.0
    accel_mps2: float = 0.0  # longitudinal, mean over the last control step
    lateral_accel_mps2: float = 0.0  # at the centre of gravity, mean over the last control step
    steer_rad: float = 0.0  # mean angle of the front wheels, left positive

    @property
    def pose(self) -> Array:
        """(x_m, y_m, yaw_rad) float64."""
        return np.array([self.x_m, self.y_m, self.yaw_rad])


class ActorKind(IntEnum):
    """What a moving or parked body is."""

    VEHICLE = 0
    PEDESTRIAN = 1
    CYCLIST = 2


class Lamp(IntFlag):
    """Lamps of a vehicle that are lit."""

    NONE = 0
    BRAKE = 1
    LEFT = 2
    RIGHT = 4
    HEAD = 8


@dataclass(frozen=True, eq=False)
class Actors:
    """Other road users, K rows; a pose is the centre of the footprint on the ground."""

    id: Array  # (K,) int, unique in the episode
    kind: Array  # (K,) int of ActorKind
    pose: Array  # (K, 3) x_m, y_m, yaw_rad
    size_m: Array  # (K, 3) length, width, height
    speed_mps: Array  # (K,) along its yaw
    colour: Array  # (K, 3) uint8 RGB
    lamps: Array  # (K,) uint8 flags of Lamp


def no_actors() -> Actors:
    """An empty street."""
    return Actors(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0),
                  np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8))


class PropKind(IntEnum):
    """What stands still beside the road."""

    BUILDING = 0
    TREE = 1
    BEACON = 2  # of roadworks, red and white


@dataclass(frozen=True, eq=False)
class Props:
    """Roadside scenery, K rows, solid to the car. A tree's collision body is its trunk."""

    kind: Array  # (K,) int of PropKind
    pose: Array  # (K, 3) centre on the ground x_m, y_m, yaw_rad
    size_m: Array  # (K, 3) length, width, height; of a tree: the crown's
    colour: Array  # (K, 3) uint8 RGB


@dataclass(frozen=True, eq=False)
class SignPosts:
    """Signs that stand in the town, K rows. The yaw is the direction a face looks: towards the traffic it binds."""

    sign: Array  # (K,) int row of SIGNS
    pose: Array  # (K, 3) foot of the post x_m, y_m, yaw_rad
    centre_height_m: Array  # (K,) of the face
    lane: Array  # (K,) int id of the lane it binds
    station_m: Array  # (K,) along that lane
    look: Array  # (K,) int, which of a sign's looks: see envs.signs.look_of
    leaves: Array  # (K,) share of the face's width, from the right as its driver sees it, that leaves hide


class Phase(IntEnum):
    """What a traffic light shows."""

    OFF = 0
    RED = 1
    RED_YELLOW = 2
    GREEN = 3
    YELLOW = 4


@dataclass(frozen=True, eq=False)
class SignalHeads:
    """Traffic lights that stand in the town, K rows. The yaw is the direction a head shines: towards its traffic."""

    group: Array  # (K,) int signal group: heads of one group always show the same
    pose: Array  # (K, 3) foot of the post x_m, y_m, yaw_rad
    centre_height_m: Array  # (K,) of the middle lamp
    lane: Array  # (K,) int id of the lane it binds
    arm_m: Array  # (K,) how far it hangs out over the road: to the right of who looks along the yaw; 0 on the post


def no_signal_heads() -> SignalHeads:
    """A town without traffic lights."""
    return SignalHeads(np.zeros(0, int), np.zeros((0, 3)), np.zeros(0), np.zeros(0, int), np.zeros(0))


@dataclass(frozen=True, eq=False)
class SignalPlan:
    """The fixed-time programs of a town's G signal groups; each repeats for ever. envs.lights reads them."""

    junction: Array  # (G,) int id
    cycle_s: Array  # (G,) the same within a junction
    start_s: Array  # (G,) time at which its red-yellow begins, modulo the cycle
    green_s: Array  # (G,)
    yellow_s: Array  # (G,)


def no_signal_plan() -> SignalPlan:
    """A town without traffic lights."""
    return SignalPlan(np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))


@dataclass(frozen=True, eq=False)
class Town:
    """Everything that stands still: made from a seed alone."""

    seed: int
    network: RoadNetwork
    signs: SignPosts
    props: Props
    signal_heads: SignalHeads = field(default_factory=no_signal_heads)
    signal_plan: SignalPlan = field(default_factory=no_signal_plan)


@dataclass(frozen=True)
class Contact:
    """The ego car touches something: `kind` is 'vehicle', 'pedestrian' or 'static'; impulse summed over the step."""

    kind: str
    id: int
    impulse_ns: float


@dataclass(frozen=True, eq=False)
class WorldState:
    """One instant."""

    time_s: float
    step: int
    ego: VehicleState
    actors: Actors
    contacts: tuple[Contact, ...]
    control: Control  # the one that led here
    town: Town
    route: Route
    signals: Array = field(default_factory=lambda: np.zeros(0, np.int64))  # (G,) int of Phase by signal group
    weather: Weather = CLEAR


@dataclass(frozen=True)
class EgoShape:
    """Outline of the ego car seen from the rear axle [m]."""

    length_m: float
    width_m: float
    height_m: float
    rear_overhang_m: float

    @property
    def centre_forward_m(self) -> float:
        """Centre of the outline ahead of the rear axle [m]."""
        return self.length_m / 2 - self.rear_overhang_m

    @property
    def front_m(self) -> float:
        """Front bumper ahead of the rear axle [m]."""
        return self.length_m - self.rear_overhang_m


# BMW 320i (E36), a mid-size saloon: length and width from CommonRoad "Vehicle Models" (Althoff and Wuersching 2020),
# vehicle 2; the height is the maker's, the rear overhang half of what length and wheelbase (2.579 m) leave.
EGO_SHAPE = EgoShape(length_m=4.508, width_m=1.610, height_m=1.39, rear_overhang_m=0.96)


def state_bytes(state: WorldState) -> bytes:
    """All that changes during an episode as canonical bytes (little-endian, fixed order): equal states, equal bytes.

    The town and the route are named by the seed and the lanes that make them.
    """
    ego, actors = np.array(list(vars(state.ego).values())), state.actors
    contacts = [(contact.kind.encode(), contact.id, contact.impulse_ns) for contact in state.contacts]
    floats = [np.array([state.time_s, state.control.steer, state.control.drive]), ego, actors.pose, actors.size_m,
              actors.speed_mps, np.array([impulse for _, _, impulse in contacts]),
              np.array(list(vars(state.weather).values()))]
    whole = [np.array([state.step, state.town.seed, *state.route.lanes]), actors.id, actors.kind, actors.lamps,
             state.signals,
             np.array([row for _, row, _ in contacts])]
    numbers = [part.astype("<f8") for part in floats] + [part.astype("<i8") for part in whole]
    return b"".join([*(part.tobytes() for part in numbers), actors.colour.astype(np.uint8).tobytes(),
                     *(kind for kind, _, _ in contacts)])
