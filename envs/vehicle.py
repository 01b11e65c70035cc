"""The ego car: steer and pedals -> actuators -> tyre forces on PyBullet's rigid body.

One rigid body on four spring-damper legs over the plane z = 0. Each tyre has a Magic Formula side force (published
shape and stiffness), a drive or brake force, and one friction limit for both. There is no wheel spin: anti-lock brakes
and traction control are taken as ideal, and the gearbox as a constant-power envelope. There is no reverse gear.

Sources: BMW 320i (E36), vehicle 2 of CommonRoad "Vehicle Models" (Althoff and Wuersching 2020), package
`commonroad-vehicle-models` (mass, inertias, geometry, suspension rates, tyre, steering rate); the rest says so.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from envs.geometry import Array
from envs.physics import GRAVITY_MPS2, BodyMotion, BodySpec, Physics, Quaternion, Triple
from envs.state import EGO_SHAPE, Control, VehicleState

STEP_MAX_S = 0.01  # longest stable physics step: the legs' roll damping rate is about 15 1/s
CONTACT_RATE_SHARE = 0.8  # share of a tyre's sliding speed that friction may take away in one step
UPRIGHT_MIN = 0.3  # cosine of tilt under which the wheels no longer touch the ground


@dataclass(frozen=True)
class CarParameters:
    """Figures of the car; each without a remark is from the published set named in the module's docstring."""

    mass_kg: float = 1093.295
    roll_inertia_kgm2: float = 268.0  # sprung 207.3 + unsprung 127.6 kg at half the track
    pitch_inertia_kgm2: float = 1780.0  # sprung 1565.8 + unsprung masses at the axles
    yaw_inertia_kgm2: float = 1791.6
    front_m: float = 1.15620  # front axle ahead of the centre of gravity
    rear_m: float = 1.42272  # rear axle behind it
    height_m: float = 0.57487  # centre of gravity above the ground
    track_m: float = 1.3754  # mean of front 1.387 and rear 1.364
    front_spring_npm: float = 24453.1
    rear_spring_npm: float = 19635.5
    front_damper_nspm: float = 1786.2
    rear_damper_nspm: float = 1649.1
    front_bar_npm: float = 10500.0  # anti-roll bar, per metre of difference (own choice: 6 degrees of roll at 1 g)
    friction: float = 1.0489  # p_dy1, at the nominal load
    friction_load_loss: float = 0.145  # share lost per nominal load above it (own choice, as usual for p_dy2)
    tyre_load_n: float = 2681.3  # nominal: a quarter of the weight
    cornering_stiffness_1prad: float = 20.898  # -p_ky1 / p_dy1: side force = friction * this * load * slip angle
    magic_shape: float = 1.3507  # p_cy1; the curvature p_ey1 = -0.007 is taken as 0
    max_steer_rad: float = 0.61  # of the road wheels: turning circle 9 m kerb to kerb (the set allows 1.066)
    steer_rate_radps: float = 0.4
    steer_lag_s: float = 0.10  # own choice, as all lags
    pedal_lag_s: float = 0.12
    wheel_power_w: float = 75_000.0  # 110 kW engine (maker), less driveline and shifts: 0-100 km/h near the maker's
    launch_accel_mps2: float = 4.2  # first gear at full throttle (own choice)
    engine_drag_mps2: float = 0.4  # with the throttle closed (own choice)
    rolling_resistance: float = 0.012  # of the weight; usual for passenger tyres
    road_friction: float = 1.0  # grip of the road, as share of dry asphalt's: `Vehicle.set_road_friction`
    drag_n_per_mps2: float = 0.372  # 0.5 * 1.2 kg/m3 * 0.62 m2 (maker's drag coefficient 0.32 times frontal area)

    @property
    def wheelbase_m(self) -> float:
        """Front to rear axle [m]."""
        return self.front_m + self.rear_m

    def resistance_mps2(self, speed_mps: float) -> float:
        """Deceleration by air and rolling at a speed."""
        return self.rolling_resistance * GRAVITY_MPS2 + self.drag_n_per_mps2 * speed_mps**2 / self.mass_kg

    def drive_for(self, accel_mps2: float, speed_mps: float) -> float:
        """The `drive` in [-1, 1] that keeps an acceleration at a speed on dry straight road: the pedals' inverse."""
        wanted = accel_mps2 + self.resistance_mps2(speed_mps) + self.engine_drag_mps2
        most = min(self.launch_accel_mps2, self.wheel_power_w / self.mass_kg / max(abs(speed_mps), 0.1))
        scale = most + self.engine_drag_mps2 if wanted > 0 else self.friction * GRAVITY_MPS2
        return float(np.clip(wanted / scale, -1.0, 1.0))

    def packed(self) -> Array:
        """All fields as one record (1,) for the compiled tyre model."""
        fields = dataclasses.fields(self)
        dtype = np.dtype([(field.name, np.float64) for field in fields])
        return np.array([tuple(getattr(self, field.name) for field in fields)], dtype)

    def body(self) -> BodySpec:
        """The rigid body; its box is the outline above the ground clearance of 0.2 m."""
        clearance = 0.2
        centre = (EGO_SHAPE.centre_forward_m - self.rear_m, 0.0, (clearance + EGO_SHAPE.height_m) / 2 - self.height_m)
        return BodySpec(self.mass_kg, (self.roll_inertia_kgm2, self.pitch_inertia_kgm2, self.yaw_inertia_kgm2),
                        (EGO_SHAPE.length_m, EGO_SHAPE.width_m, EGO_SHAPE.height_m - clearance), centre)


CAR = CarParameters()


@njit(cache=True)
def _grip(load_n: float, car: CarParameters) -> float:
    """Most force [N] that a tyre under a load can pass on to a dry road, in any direction."""
    overload = min(load_n / car.tyre_load_n - 1.0, 3.0)
    return car.friction * (1.0 - car.friction_load_loss * overload) * load_n


@njit(cache=True)
def _magic(slip: float, load_n: float, car: CarParameters) -> float:
    """Side force [N] of a tyre at a slip angle [rad] >= 0: Pacejka's Magic Formula with published stiffness."""
    limit = car.road_friction * _grip(load_n, car)
    stiffness = car.cornering_stiffness_1prad * car.friction * load_n
    return limit * np.sin(car.magic_shape * np.arctan(stiffness / (car.magic_shape * limit) * slip))


@njit(cache=True)
def _actuate(actuators: Array, steer: float, drive: float, car: CarParameters, dt_s: float) -> None:
    """Move `actuators` (steer_rad, throttle, brake) towards the controls: lag, and the steering's rate limit."""
    wished = (steer * car.max_steer_rad - actuators[0]) * (1.0 - np.exp(-dt_s / car.steer_lag_s))
    most = car.steer_rate_radps * dt_s
    actuators[0] += min(max(wished, -most), most)
    share = 1.0 - np.exp(-dt_s / car.pedal_lag_s)
    actuators[1] += (max(drive, 0.0) - actuators[1]) * share
    actuators[2] += (max(-drive, 0.0) - actuators[2]) * share


@njit(cache=True)
def _rotation(orientation: Quaternion) -> Array:
    """Rotation matrix (3, 3) from the body to the world frame."""
    x, y, z, w = orientation
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


@njit(cache=True)
def _wheel_loads(legs: Array, velocity: Triple, spin: Triple, height_m: float, car: CarParameters) -> Array:
    """Vertical load (4,) [N] of the wheels (front left, front right, rear left, rear right), never pulling."""
    load = np.zeros(4)
    wheelbase = car.front_m + car.rear_m
    for i in range(4):
        front = i < 2
        spring = car.front_spring_npm if front else car.rear_spring_npm
        damper = car.front_damper_nspm if front else car.rear_damper_nspm
        static = car.mass_kg * GRAVITY_MPS2 * (car.rear_m if front else car.front_m) / wheelbase / 2
        rise = height_m + legs[i, 2]
        rate = velocity[2] + spin[0] * legs[i, 1] - spin[1] * legs[i, 0]
        load[i] = static - spring * rise - damper * rate
        if front:
            load[i] -= car.front_bar_npm * (legs[i, 2] - legs[1 - i, 2])
        load[i] = max(load[i], 0.0)
    return load


@njit(cache=True)
def _tyre(speed: float, slide: float, load_n: float, push_n: float, hold_n: float, caps: Array,
          car: CarParameters) -> tuple[float, float]:
    """Forward and left force [N] of a tyre moving at `speed` forward and `slide` to the left [m/s].

    `push_n` is the engine's part; `hold_n` resists rolling and at most stops it within the step (`caps`: force per
    speed that does so, forward and sideways). Both directions share one friction limit.
    """
    if load_n <= 0.0:
        return 0.0, 0.0
    limit = car.road_friction * _grip(load_n, car)
    forward = push_n - np.sign(speed) * min(hold_n, caps[0] * abs(speed))
    forward = min(max(forward, -limit), limit)
    left = _magic(np.arctan2(abs(slide), abs(speed)), load_n, car)
    left = -np.sign(slide) * min(left, caps[1] * abs(slide))
    total = np.hypot(forward, left)
    share = limit / total if total > limit else 1.0
    return forward * share, left * share


@njit(cache=True)
def car_wrench(position: Triple, orientation: Quaternion, velocity: Triple, spin: Triple, actuators: Array,
               steer: float, drive: float, caps: Array, dt_s: float, cars: Array) -> tuple[Triple, Triple]:
    """Force [N] and torque [N m] on the car in the world frame, gravity left out; advances `actuators` by `dt_s`."""
    car = cars[0]
    _actuate(actuators, steer, drive, car, dt_s)
    rotation = _rotation(orientation)
    air = -car.drag_n_per_mps2 * np.sqrt(velocity[0] ** 2 + velocity[1] ** 2 + velocity[2] ** 2)
    fx, fy, fz, tx, ty, tz = air * velocity[0], air * velocity[1], air * velocity[2], 0.0, 0.0, 0.0
    if rotation[2, 2] < UPRIGHT_MIN:
        return (fx, fy, fz), (tx, ty, tz)
    half, wheelbase = car.track_m / 2, car.front_m + car.rear_m
    legs = np.empty((4, 3))  # from the centre of gravity to each tyre's foot, world frame
    for i in range(4):
        x, y, z = (car.front_m if i < 2 else -car.rear_m), (half if i % 2 == 0 else -half), -car.height_m
        for k in range(3):
            legs[i, k] = rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z
    loads = _wheel_loads(legs, velocity, spin, position[2], car)
    norm = np.hypot(rotation[0, 0], rotation[1, 0])
    cos_yaw, sin_yaw = rotation[0, 0] / norm, rotation[1, 0] / norm
    rolling_mps = velocity[0] * cos_yaw + velocity[1] * sin_yaw
    most = car.mass_kg * car.launch_accel_mps2
    engine = actuators[1] * min(most, car.wheel_power_w / max(abs(rolling_mps), 0.1))
    closed = (1.0 - actuators[1]) * car.engine_drag_mps2 * car.mass_kg
    for i in range(4):
        turn = 0.0
        if i < 2:  # Ackermann: each front wheel at right angles to the line to the turning centre
            tangent = np.tan(actuators[0])
            turn = np.arctan(wheelbase * tangent / (wheelbase - (half if i == 0 else -half) * tangent))
        cos, sin = cos_yaw * np.cos(turn) - sin_yaw * np.sin(turn), sin_yaw * np.cos(turn) + cos_yaw * np.sin(turn)
        down = -position[2]  # the foot presses on the plane z = 0
        vx = velocity[0] + spin[1] * down - spin[2] * legs[i, 1]
        vy = velocity[1] + spin[2] * legs[i, 0] - spin[0] * down
        hold = actuators[2] * _grip(loads[i], car) + car.rolling_resistance * loads[i] + (closed / 2 if i >= 2 else 0.0)
        forward, left = _tyre(vx * cos + vy * sin, vy * cos - vx * sin, loads[i], engine / 2 if i >= 2 else 0.0, hold,
                              caps, car)
        px, py = forward * cos - left * sin, forward * sin + left * cos
        fx, fy, fz = fx + px, fy + py, fz + loads[i]
        tx += legs[i, 1] * loads[i] - down * py
        ty += down * px - legs[i, 0] * loads[i]
        tz += legs[i, 0] * py - legs[i, 1] * px
    return (fx, fy, fz), (tx, ty, tz)


def friction_caps(car: CarParameters, step_s: float) -> Array:
    """Force per sliding speed (2,) [N s/m] that each of four tyres may use without overshoot: forward and sideways.

    The inverse mass that a pair of feet feels includes the body's rotation: 4 (1/m + h^2/I).
    """
    inverse = [4 * (1 / car.mass_kg + car.height_m**2 / inertia)
               for inertia in (car.pitch_inertia_kgm2, car.roll_inertia_kgm2)]
    return CONTACT_RATE_SHARE / (step_s * np.array(inverse))


class Vehicle:
    """The ego car in a `Physics` world: `place` it, then `advance` it one control step at a time."""

    def __init__(self, physics: Physics, car: CarParameters = CAR) -> None:
        self.car = car
        self._physics = physics
        self._packed = car.packed()
        self._caps = friction_caps(car, physics.step_s)
        self._actuators = np.zeros(3)

    def at(self, x_m: float, y_m: float, yaw_rad: float, speed_mps: float = 0.0) -> BodyMotion:
        """The body with its rear axle over (x, y), rolling straight ahead."""
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        position = (x_m + self.car.rear_m * cos, y_m + self.car.rear_m * sin, self.car.height_m)
        return BodyMotion(position, (0.0, 0.0, math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)),
                          (speed_mps * cos, speed_mps * sin, 0.0), (0.0, 0.0, 0.0))

    def centre_actuators(self) -> None:
        """Wheels straight, pedals released: how an episode starts."""
        self._actuators[:] = 0.0

    def set_road_friction(self, share: float) -> None:
        """Grip of the road from now on, as share of dry asphalt's: in (0, 1]. The pedals' forces stay what they are.

        Raises ValueError on another number.
        """
        if not 0.0 < share <= 1.0:
            raise ValueError(f"road friction is {share}; give a share of dry asphalt's, over 0 and at most 1")
        self._packed = dataclasses.replace(self.car, road_friction=share).packed()

    def advance(self, control: Control, steps: int) -> tuple[VehicleState, dict[int, float]]:
        """Drive `steps` physics steps; the state, and the impulse [N s] by the row of each solid touched."""
        actuators, caps, dt_s, packed = self._actuators, self._caps, self._physics.step_s, self._packed
        steer, drive = float(control.steer), float(control.drive)

        def wrench(position: Triple, orientation: Quaternion, velocity: Triple,
                   spin: Triple) -> tuple[Triple, Triple]:
            return car_wrench(position, orientation, velocity, spin, actuators, steer, drive, caps, dt_s, packed)

        before = self._physics.motion()
        impulses = self._physics.advance(wrench, steps)
        after = self._physics.motion()
        return self.state(before, after, steps * dt_s), impulses

    def state(self, before: BodyMotion, after: BodyMotion, elapsed_s: float) -> VehicleState:
        """The car at `after`; accelerations are means since `before`, along the mean heading (0 if no time passed)."""
        foot = (_rotation(after.orientation) @ (-self.car.rear_m, 0.0, -self.car.height_m)).tolist()
        x, y = after.position_m[0] + foot[0], after.position_m[1] + foot[1]
        spin = after.angular_velocity_radps
        vx = after.velocity_mps[0] + spin[1] * foot[2] - spin[2] * foot[1]
        vy = after.velocity_mps[1] + spin[2] * foot[0] - spin[0] * foot[2]
        roll, pitch, yaw = _angles(after.orientation)
        cos, sin = math.cos(yaw), math.sin(yaw)
        accel = lateral_accel = 0.0
        if elapsed_s > 0:
            middle = yaw - spin[2] * elapsed_s / 2
            ax, ay = ((now - then) / elapsed_s for now, then in
                      zip(after.velocity_mps[:2], before.velocity_mps[:2], strict=True))
            accel = ax * math.cos(middle) + ay * math.sin(middle)
            lateral_accel = ay * math.cos(middle) - ax * math.sin(middle)
        return VehicleState(
            x_m=x, y_m=y, yaw_rad=yaw, roll_rad=roll, pitch_rad=pitch,
            speed_mps=vx * cos + vy * sin, lateral_speed_mps=vy * cos - vx * sin,
            yaw_rate_radps=spin[2], accel_mps2=accel, lateral_accel_mps2=lateral_accel,
            steer_rad=float(self._actuators[0]))


def _angles(orientation: Quaternion) -> Triple:
    """Roll, pitch (positive: nose down) and yaw [rad], rotations about x, y', z''."""
    x, y, z, w = orientation
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    return roll, pitch, math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
