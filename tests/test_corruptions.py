"""Corruptions hurt more the more severe they are, come out the same each time, and have the paper's numbers."""

import numpy as np
import pytest

from envs.config import ConfigError
from perception.corruptions import CORRUPTIONS, DELAY_FRAMES, FAULTS, SEVERITIES, break_camera, corrupt, names

# Severities that are of another kind than the ones before: affine then elastic, water then mud, pale then gaudy.
VEILS = {"frost", "fog"}  # they add light of their own: judged by how much of the picture is left, not by brightness
BREAKS = {"elastic_transform": 3, "spatter": 4, "saturate": 3}


def street(height=160, width=320):
    """A picture with a sky, edges, texture and colours (1, H, W, 3)."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([70 + rows / 3, 110 + columns / 8, 200 - rows / 2], 2)
    ground = rows > height / 2
    picture[ground] = 90 + rng.normal(0, 8, (int(ground.sum()), 1))
    picture[ground & (np.abs((columns - width / 2) - (rows - height / 2)) < 6)] = 230
    picture[height // 3:height // 2, width // 4:width // 3] = (200, 40, 30)
    return np.clip(picture, 0, 255).astype(np.uint8)[None]


def psnr(a, b):
    """Peak signal-to-noise ratio [dB]."""
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def likeness(a, b):
    """Correlation of two pictures, as a ratio of what they share to what they do not [dB]."""
    share = np.corrcoef(a.ravel(), b.ravel())[0, 1] ** 2
    return 10 * np.log10(share / (1 - share)) + 10


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_corruption_hurts_more_and_more(name):
    frames, before = street(), np.inf
    quality = likeness if name in VEILS else psnr
    for severity in SEVERITIES:
        spoilt = corrupt(name, frames, severity, np.random.default_rng(7))
        assert spoilt.shape == frames.shape and spoilt.dtype == np.uint8
        now = quality(spoilt, frames)
        assert 5 < now < 40, f"severity {severity}"
        if severity != BREAKS.get(name):
            assert now < before + 0.5, f"severity {severity}: {before:.1f} then {now:.1f} dB"
        before = now
    if name not in BREAKS:
        assert quality(corrupt(name, frames, 1, np.random.default_rng(7)), frames) > before + 0.7


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_same_generator_same_bytes(name):
    frames = street(80, 160).repeat(2, 0)
    first, again = (corrupt(name, frames, 3, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(corrupt(name, frames, 0, np.random.default_rng(5)), frames)
    is_random = not np.array_equal(first[0], first[1])
    assert is_random == (name not in {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "saturate",
                                      "jpeg_compression", "gaussian_blur"})


def test_lengths_follow_the_size_of_the_picture():
    """An edge blurred at twice the size is twice as wide."""
    widths = []
    for size in (112, 224):
        edge = np.zeros((1, size, size, 3), np.uint8)
        edge[:, size // 2:] = 255
        soft = corrupt("gaussian_blur", edge, 3, np.random.default_rng(0))[0, :, 0, 0]
        widths.append(int(((soft > 25) & (soft < 230)).sum()))
    assert widths[1] == pytest.approx(2 * widths[0], abs=2)


def test_noise_has_the_strength_the_paper_says():
    grey = np.full((1, 160, 320, 3), 128, np.uint8)
    noisy = corrupt("gaussian_noise", grey, 1, np.random.default_rng(0)) / 255
    assert noisy.std() == pytest.approx(0.08, rel=0.03)
    shots = corrupt("shot_noise", grey, 1, np.random.default_rng(0)) / 255
    assert shots.std() == pytest.approx(np.sqrt(0.5 / 60), rel=0.03)
    salted = corrupt("impulse_noise", grey, 5, np.random.default_rng(0))
    assert (salted == 0).mean() == pytest.approx(0.135, abs=0.01) == pytest.approx((salted == 255).mean(), abs=0.01)


def test_fifteen_and_four():
    assert len(names(False)) == 15 and len(names(True)) == 19
    assert all(len(row.numbers) == 5 for row in CORRUPTIONS.values())


def test_faults_do_what_they_say():
    frames = np.stack([np.full((8, 16, 3), 20 + k, np.uint8) for k in range(12)])
    broken = {name: break_camera(name, frames) for name in FAULTS}
    assert not broken["black"].any() and (broken["frozen"] == frames[0]).all()
    assert (broken["delayed"][-1] == frames[-1 - DELAY_FRAMES]).all()
    assert (broken["half_covered"][:, :, 8:] == frames[:, :, 8:]).all() and broken["half_covered"][:, :, :8].max() < 20
    assert (broken["overexposed"][0] == 160).all() and (broken["overexposed"][-1] == 248).all()
    assert all(value.shape == frames.shape and value.dtype == np.uint8 for value in broken.values())


def test_bad_names_and_severities():
    frames = street(32, 64)
    with pytest.raises(ConfigError, match="'hail' is unknown; the legal ones are gaussian_noise"):
        corrupt("hail", frames, 1, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="severity is 6; give 0 to 5"):
        corrupt("fog", frames, 6, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="'stolen' is unknown"):
        break_camera("stolen", frames)
