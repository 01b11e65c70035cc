"""Pages hold all they need, and words from outside stay words."""

import base64
import re

import cv2
import numpy as np

from perception import pages


def test_words_from_outside_are_escaped():
    hostile = '<script>alert("x")</script>'
    text = pages.page(hostile, [pages.table([hostile, "n"], [[hostile, "1"]]), pages.image(b"", hostile)])
    assert "<script>" not in text and text.count("&lt;script&gt;") == 4


def test_a_page_needs_no_other_file():
    def draw(axes):
        axes[0].plot([0, 1], [1, 0])

    text = pages.page("two", [pages.figure(draw, 2), pages.picture(np.zeros((4, 6, 3), np.uint8), "black")])
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == 2 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in text and text.startswith("<!doctype html>")


def test_a_picture_keeps_its_pixels_and_colours():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    data = re.search(r"base64,([^\"]*)", pages.picture(pixels, "noise"))[1]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(shown, pixels)
