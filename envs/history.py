"""World states as the arrays of a recording, and back: what happened, without physics.

`arrays_of` and `states_of` are inverse to each other, bit for bit; the town and the route are not stored but made again
from the scenario. Nothing here reads or writes a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from envs.geometry import Array
from envs.lights import phases
from envs.roads.procedural import build_town
from envs.state import Actors, Contact, Control, VehicleState, WorldState
from envs.weather import weather_of
from envs.world import plan_route
from scenarios.recording import CONTACT_KINDS, EGO_FIELDS
from scenarios.spec import Scenario


def arrays_of(states: Sequence[WorldState]) -> dict[str, Array]:
    """The required arrays of a recording (see scenarios/recording.py) from T + 1 instants of one episode."""
    first = states[0].actors
    contacts = [(state.step, CONTACT_KINDS.index(contact.kind), contact.id, contact.impulse_ns)
                for state in states for contact in state.contacts]
    columns: Sequence[Sequence[float]] = list(zip(*contacts, strict=True)) or [()] * 4
    return {
        "time_s": np.array([state.time_s for state in states], np.float64),
        "ego": np.array([[getattr(state.ego, name) for name in EGO_FIELDS] for state in states], np.float64),
        "control": np.array([(state.control.steer, state.control.drive) for state in states[1:]],
                            np.float64).reshape(-1, 2),
        "actors_pose": np.stack([state.actors.pose for state in states]).astype(np.float64),
        "actors_speed_mps": np.stack([state.actors.speed_mps for state in states]).astype(np.float64),
        "actors_id": first.id.astype(np.int64), "actors_kind": first.kind.astype(np.int64),
        "actors_size_m": first.size_m.astype(np.float64), "actors_colour": first.colour.astype(np.uint8),
        "actors_lamps": np.stack([state.actors.lamps for state in states]).astype(np.uint8),
        "contact_step": np.array(columns[0], np.int64), "contact_kind": np.array(columns[1], np.int64),
        "contact_id": np.array(columns[2], np.int64), "contact_impulse_ns": np.array(columns[3], np.float64)}


def states_of(arrays: Mapping[str, Array], scenario: Scenario) -> list[WorldState]:
    """The T + 1 instants of a recording's arrays. Raises ScenarioError when the scenario has no route."""
    town = build_town(scenario.town_seed)
    route = plan_route(town.network, scenario)
    weather = weather_of(scenario.weather, (scenario.town_seed, scenario.route_seed))
    contacts: dict[int, list[Contact]] = {}
    for step, kind, body, impulse in zip(arrays["contact_step"], arrays["contact_kind"], arrays["contact_id"],
                                         arrays["contact_impulse_ns"], strict=True):
        contacts.setdefault(int(step), []).append(Contact(CONTACT_KINDS[kind], int(body), float(impulse)))
    controls = [Control(0.0, 0.0), *(Control(*row) for row in arrays["control"].tolist())]
    return [
        WorldState(time_s=time_s, step=step, ego=VehicleState(*ego), contacts=tuple(contacts.get(step, ())),
                   control=control, town=town, route=route, weather=weather,
                   signals=phases(town.signal_plan, time_s, scenario.signals), actors=Actors(
                       id=arrays["actors_id"], kind=arrays["actors_kind"], pose=pose, size_m=arrays["actors_size_m"],
                       speed_mps=speed, colour=arrays["actors_colour"], lamps=lamps))
        for step, (time_s, ego, control, pose, speed, lamps) in enumerate(zip(
            arrays["time_s"].tolist(), arrays["ego"].tolist(), controls, arrays["actors_pose"],
            arrays["actors_speed_mps"], arrays["actors_lamps"], strict=True))]
