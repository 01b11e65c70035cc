"""States become arrays and come back bit for bit."""

import dataclasses

import numpy as np
from recorded_drive import SCENARIO, STEPS, driven, recorded

from envs.history import arrays_of, states_of
from envs.state import Contact


def test_states_come_back_bit_for_bit():
    before_all, record = driven()[0], recorded()
    states = states_of(record.arrays, SCENARIO)
    assert len(states) == STEPS + 1
    for before, after in zip(before_all, states, strict=True):
        assert (after.time_s, after.step, after.ego, after.control, after.contacts) == (
            before.time_s, before.step, before.ego, before.control, before.contacts)
        assert after.town.seed == before.town.seed and np.array_equal(after.route.points_m, before.route.points_m)
        for field in dataclasses.fields(after.actors):
            assert np.array_equal(getattr(after.actors, field.name), getattr(before.actors, field.name))
    again = arrays_of(states)
    assert all(np.array_equal(again[name], record.arrays[name]) for name in again)


def test_contacts_come_back():
    """A wall touched at steps 3 and 4 is in the arrays and in the states."""
    touched = [dataclasses.replace(state, contacts=(Contact("static", -2, 5.5),) if state.step in (3, 4) else ())
               for state in driven()[0]]
    arrays = arrays_of(touched)
    assert arrays["contact_step"].tolist() == [3, 4] and arrays["contact_id"].tolist() == [-2, -2]
    assert [state.contacts for state in states_of(arrays, SCENARIO)] == [state.contacts for state in touched]
