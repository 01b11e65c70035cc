"""The PyBullet client: the ego's rigid body, the solid things around it, stepping and contacts. Door 1 to pybullet.

Only what stands near the car exists in the client: solids come and go with the drive, so that a town of hundreds of
houses, trees and posts costs neither reset nor step. Solids cannot be pushed; those with a velocity slide along it
until `redirect` tells them otherwise.
What moves the car (tyres, drag) is computed elsewhere and handed in as a force and a torque before each step.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pybullet

from envs.geometry import Array

GRAVITY_MPS2 = 9.81
CONTACT_ERP = 0.05  # share of a penetration undone per step: more would fling the car out of what it hit
LEAVE_MARGIN_M = 20.0  # a solid is removed this much farther away than it appears
CHASSIS_REACH_M = 3.0  # no part of the car is farther from its centre of gravity

Triple = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]  # x, y, z, w
Wrench = Callable[[Triple, Quaternion, Triple, Triple], tuple[Triple, Triple]]
"""From position, orientation, velocity and angular velocity of the body to force and torque, all in the world frame."""


@dataclass(frozen=True)
class BodySpec:
    """A rigid body: its frame lies in the centre of gravity; its one collision box is centred at `box_centre_m`."""

    mass_kg: float
    inertia_kgm2: Triple
    box_size_m: Triple
    box_centre_m: Triple


@dataclass(frozen=True)
class BodyMotion:
    """Where a body is and how it moves, in the world frame, at its centre of gravity."""

    position_m: Triple
    orientation: Quaternion
    velocity_mps: Triple
    angular_velocity_radps: Triple


@dataclass(frozen=True, eq=False)
class Solids:
    """Upright boxes standing on the ground that the car can hit, K rows."""

    pose: Array  # (K, 3) centre on the ground at the start: x_m, y_m, yaw_rad
    size_m: Array  # (K, 3) length, width, height
    velocity_mps: Array  # (K, 2) in the world frame

    @staticmethod
    def join(parts: list[Solids]) -> Solids:
        """All rows of several tables, in order."""
        return Solids(np.concatenate([part.pose for part in parts]).reshape(-1, 3),
                      np.concatenate([part.size_m for part in parts]).reshape(-1, 3),
                      np.concatenate([part.velocity_mps for part in parts]).reshape(-1, 2))

    @staticmethod
    def still(pose: Array, size_m: Array) -> Solids:
        """Solids without motion, from poses (K, 3) and sizes (K, 3)."""
        return Solids(np.reshape(pose, (-1, 3)), np.reshape(size_m, (-1, 3)), np.zeros((len(pose), 2)))


class _Client:
    """PyBullet's functions bound to one connection of our own, closed by `disconnect` or with the last reference."""

    def __init__(self) -> None:
        self._id = pybullet.connect(pybullet.DIRECT)
        self.disconnect = weakref.finalize(self, _disconnect, self._id)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = functools.partial(getattr(pybullet, name), physicsClientId=self._id)
        setattr(self, name, function)
        return function


def _disconnect(client_id: int) -> None:
    if pybullet.isConnected(client_id):
        pybullet.disconnect(client_id)


class Physics:
    """A flat world with one free body. `reset` empties it, `advance` steps it; call `close` at the end."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self._client = _Client()
        self._body = -1
        self._solids = Solids.still(np.zeros((0, 3)), np.zeros((0, 3)))
        self._since_s = np.zeros(0)  # when each solid was where its pose says
        self._body_of_solid: dict[int, int] = {}
        self._solid_of_body: dict[int, int] = {}
        self._steps = 0

    def close(self) -> None:
        """Give the client back; the object cannot be used afterwards."""
        self._client.disconnect()

    @property
    def time_s(self) -> float:
        """Simulated time since `reset`."""
        return self._steps * self.step_s

    @property
    def num_present(self) -> int:
        """How many solids are in the client now."""
        return len(self._body_of_solid)

    def reset(self, spec: BodySpec, motion: BodyMotion, solids: Solids) -> None:
        """A new world: a plane, the body in its motion, and solids that appear when the body comes near."""
        client = self._client
        client.resetSimulation()
        client.setGravity(0.0, 0.0, -GRAVITY_MPS2)
        client.setPhysicsEngineParameter(fixedTimeStep=self.step_s, numSubSteps=0, contactERP=CONTACT_ERP,
                                         deterministicOverlappingPairs=1)
        client.createMultiBody(0.0, client.createCollisionShape(pybullet.GEOM_PLANE))
        half = [size / 2 for size in spec.box_size_m]
        shape = client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half,
                                            collisionFramePosition=spec.box_centre_m)
        self._body = client.createMultiBody(spec.mass_kg, shape, basePosition=motion.position_m,
                                            baseOrientation=motion.orientation)
        client.changeDynamics(self._body, -1, localInertiaDiagonal=spec.inertia_kgm2, linearDamping=0.0,
                              angularDamping=0.0)
        client.resetBaseVelocity(self._body, motion.velocity_mps, motion.angular_velocity_radps)
        self._solids, self._steps = Solids(solids.pose.copy(), solids.size_m, solids.velocity_mps.copy()), 0
        self._since_s = np.zeros(len(solids.pose))
        self._radius_m = np.hypot(solids.size_m[:, 0], solids.size_m[:, 1]) / 2
        self._speed_mps = np.hypot(solids.velocity_mps[:, 0], solids.velocity_mps[:, 1])
        self._body_of_solid, self._solid_of_body = {}, {}

    def motion(self) -> BodyMotion:
        """The body now."""
        return BodyMotion(*self._client.getBasePositionAndOrientation(self._body),
                          *self._client.getBaseVelocity(self._body))

    def redirect(self, pose: Array, velocity_mps: Array) -> None:
        """Put the first M solids at poses (M, 3) now and let them slide at velocities (M, 2) from here on."""
        count = len(pose)
        self._solids.pose[:count], self._solids.velocity_mps[:count] = pose, velocity_mps
        self._speed_mps[:count] = np.hypot(velocity_mps[:, 0], velocity_mps[:, 1])
        self._since_s[:count] = self.time_s
        for row in self._body_of_solid:
            if row < count:
                self._move(row)

    def advance(self, wrench: Wrench, steps: int) -> dict[int, float]:
        """Step the world `steps` times under `wrench`; impulse [N s] by the row of each solid that was touched."""
        client, body, frame = self._client, self._body, pybullet.WORLD_FRAME
        place, velocities = client.getBasePositionAndOrientation, client.getBaseVelocity
        push, twist, step = client.applyExternalForce, client.applyExternalTorque, client.stepSimulation
        moving = self._surround(steps * self.step_s)
        impulses: dict[int, float] = {}
        for _ in range(steps):
            for row in moving:
                self._move(row)
            position, orientation = place(body)
            force, torque = wrench(position, orientation, *velocities(body))
            push(body, -1, force, position, frame)
            twist(body, -1, torque, frame)
            step()
            self._steps += 1
            if self._body_of_solid:
                self._collect(impulses)
        return impulses

    def _collect(self, impulses: dict[int, float]) -> None:
        """Add this step's contact impulses of the body with solids."""
        for point in self._client.getContactPoints(self._body):
            row = self._solid_of_body.get(point[2])
            if row is not None and (point[8] <= 0.0 or point[9] > 0.0):
                impulses[row] = impulses.get(row, 0.0) + point[9] * self.step_s

    def _surround(self, ahead_s: float) -> list[int]:
        """Bring in the solids within reach of the body for `ahead_s`, drop the far ones; rows of those that move."""
        if not len(self._solids.pose):
            return []
        position = self._client.getBasePositionAndOrientation(self._body)[0]
        velocity = self._client.getBaseVelocity(self._body)[0]
        centre = self._solids.pose[:, :2] + self._solids.velocity_mps * (self.time_s - self._since_s)[:, None]
        reach = CHASSIS_REACH_M + 2 * ahead_s * (float(np.hypot(*velocity[:2])) + self._speed_mps)
        gap = np.hypot(centre[:, 0] - position[0], centre[:, 1] - position[1]) - self._radius_m - reach
        for row in [row for row in self._body_of_solid if gap[row] > LEAVE_MARGIN_M]:
            bullet = self._body_of_solid.pop(row)
            del self._solid_of_body[bullet]
            self._client.removeBody(bullet)
        for row in np.flatnonzero(gap < 0.0).tolist():
            if row not in self._body_of_solid:
                self._create(row)
        return [row for row in self._body_of_solid if self._speed_mps[row] > 0.0]

    def _create(self, row: int) -> None:
        """Put one solid into the client."""
        solids, client = self._solids, self._client
        shape = client.createCollisionShape(pybullet.GEOM_BOX, halfExtents=(solids.size_m[row] / 2).tolist())
        bullet = client.createMultiBody(0.0, shape)
        self._body_of_solid[row], self._solid_of_body[bullet] = bullet, row
        self._move(row)

    def _move(self, row: int) -> None:
        """Set one solid to where it is now."""
        x, y, yaw = self._solids.pose[row].tolist()
        vx, vy = self._solids.velocity_mps[row].tolist()
        elapsed_s = self.time_s - float(self._since_s[row])
        centre = (x + vx * elapsed_s, y + vy * elapsed_s, float(self._solids.size_m[row, 2]) / 2)
        turn = (0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))
        self._client.resetBasePositionAndOrientation(self._body_of_solid[row], centre, turn)
