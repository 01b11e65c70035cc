"""Drawn traffic lights: the same from the same seed, of every state and size, and lit where the state says."""

import numpy as np

from perception.lampcrops import OFF, STATES, draw_crop


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
