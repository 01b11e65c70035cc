"""Drawn traffic lights: the same from the same seed, of every state and size, and lit where the state says."""

import numpy as np

from perception.lampcrops import OFF, STATES, draw_crop, hang


def test_the_same_seed_draws_the_same():
    first, second = (draw_crop(np.random.default_rng(4)) for _ in range(2))
    assert first[1] == second[1] and first[0].tobytes() == second[0].tobytes()


def test_every_state_is_drawn_in_sizes_from_a_few_pixels_up():
    rng = np.random.default_rng(0)
    crops = [draw_crop(rng) for _ in range(120)]
    assert {state for _, state in crops} == set(range(len(STATES)))
    heights = [crop.shape[0] for crop, _ in crops]
    assert min(heights) < 12 and max(heights) > 80
    assert all(crop.dtype == np.uint8 and crop.shape[1] >= 3 for crop, _ in crops)


def test_green_is_the_greenest_and_off_the_dullest():
    rng = np.random.default_rng(1)
    strongest = {state: [] for state in range(len(STATES))}
    for _ in range(300):
        crop, state = draw_crop(rng)
        pixels = crop.reshape(-1, 3).astype(float)
        strongest[state].append(np.percentile(pixels[:, 1] - pixels[:, 0], 95))
    green, off = (np.mean(strongest[state]) for state in (STATES.index("green"), OFF))
    assert green > off + 20
    assert np.mean(strongest[STATES.index("red")]) < off


def test_a_head_hangs_in_its_box_and_leaves_the_rest_as_it_was():
    for seed in range(30):
        lit = np.full((120, 120, 3), 0.5, np.float32)
        box = hang(lit, (60.2, 55.7), 40.0, 0.6, np.random.default_rng(seed))
        left, top, right, bottom = np.round(box).astype(int)
        assert max(right - left, bottom - top) in (39, 40, 41)
        inside = np.zeros((120, 120), bool)
        inside[top:bottom, left:right] = True
        changed = np.abs(lit - 0.5).max(2) > 0.05
        assert changed[inside].mean() > 0.5
        far = np.ones((120, 120), bool)
        far[max(top - 42, 0):bottom + 42, max(left - 42, 0):right + 42] = False
        assert not changed[far].any()


def test_a_head_without_room_is_not_hung():
    lit = np.full((60, 60, 3), 0.5, np.float32)
    assert hang(lit, (3.0, 30.0), 30.0, 0.5, np.random.default_rng(0)) is None
    assert (lit == 0.5).all()
