"""Drawn roads: labels lie where the picture has what they name."""

import numpy as np

from perception.roadscapes import COLUMNS, HEIGHT_PX, ROWS, WIDTH_PX, draw_scape


def test_the_same_seed_draws_the_same():
    first, second = (draw_scape(np.random.default_rng(4)) for _ in range(2))
    assert first.rgb.tobytes() == second.rgb.tobytes() and first.ridge.tobytes() == second.ridge.tobytes()


def test_road_and_lines_lie_below_the_horizon_and_lines_on_the_road_mostly():
    rng = np.random.default_rng(0)
    on_road = []
    for _ in range(30):
        scape = draw_scape(rng)
        assert scape.rgb.shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert scape.road.shape == scape.ridge.shape == (ROWS, COLUMNS)
        above = max(int(scape.horizon * ROWS) - 3, 0)
        assert not scape.road[:above].any() and not scape.ridge[:above].any()
        is_line = (scape.ridge > 0.8) & (scape.ridge_weight > 0.9)  # not hidden
        on_road += scape.road[is_line].tolist()
    assert np.mean(on_road) > 0.85
