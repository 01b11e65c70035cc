"""Letters on pictures."""

import numpy as np

from envs.render.lettering import text_width, write


def test_letters_are_cut_at_the_edge():
    image = np.zeros((20, 40, 3), np.uint8)
    write(image, "speed", (-5, 10), 14)
    write(image, "limit", (39, 19), 14, colour=(255, 0, 0), anchor=(0, 0.5))
    write(image, "outside", (200, 200), 14)
    assert image[:, :20].max() > 200 and image[..., 1].max() > 0
    assert text_width("100 km/h", 20) > text_width("100 km/h", 10) > 20


def test_anchor_says_which_point_of_the_text_lies_where():
    """Right-aligned text ends at its point, centred text lies around it."""
    for anchor, low, high in ((0.0, 50, 100), (1.0, 0, 50), (0.5, 25, 75)):
        image = np.zeros((30, 100, 3), np.uint8)
        write(image, "MMM", (50, 15), 12, anchor=(anchor, 0.5))
        columns = np.flatnonzero(image.max(axis=(0, 2)))
        assert low <= columns[0] and columns[-1] <= high
