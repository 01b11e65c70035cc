"""Signs cut out of frames for the namer: where they are, of their class, and none where there is none."""

import numpy as np
import pytest

from envs.config import CameraConfig
from envs.signs import SIGNS
from perception import dataset
from perception.dataset import Frames
from perception.perceiver import square
from perception.seen_signs import TIMES, Pool, cut_outs
from perception.train_namer import seen_in
from tests.made_labels import blank, put

NONE = len(SIGNS)


@pytest.fixture(scope="module")
def frames():
    """Eight grey frames with a red sign of class 7 and a blue one of class 30, and one too small to read."""
    labels = blank(8)
    put(labels, "sign", 0, [100, 40, 120, 60], 9.0, **{"class": 7})
    put(labels, "sign", 1, [200, 50, 212, 62], 20.0, **{"class": 30})
    put(labels, "sign", 2, [300, 50, 303, 53], 50.0, **{"class": 9})
    rgb = np.full((8, 160, 320, 3), 110, np.uint8)
    rgb[:, 40:60, 100:120], rgb[:, 50:62, 200:212] = (220, 20, 20), (20, 20, 220)
    return Frames(CameraConfig(), rgb, labels)


def test_each_sign_is_cut_out_where_it_is(frames):
    crops, classes = cut_outs([frames], np.random.default_rng(0))
    assert (classes == 7).sum() == (classes == 30).sum() == 8 * TIMES and (classes == 9).sum() == 0
    middle = crops[:, 15:25, 15:25].mean((1, 2))
    assert (middle[classes == 7, 0] > 180).all() and (middle[classes == 30, 2] > 180).all()
    edge = crops[:, 0, 20].astype(int)
    assert np.abs(edge[classes == 7] - 110).max(1).mean() < 60, "a margin about the sign"


def test_what_the_border_cuts_keeps_its_shape(frames):
    """A box is cut out as a square of the frame, and where the frame ends its border goes on."""
    inside = square(frames.rgb[0], np.array([100, 40, 120, 60], np.float32))
    assert (inside == frames.rgb[0, 38:62, 98:122]).all()
    over = square(frames.rgb[0], np.array([310, 40, 320, 60], np.float32))
    assert over.shape == (24, 24, 3) and (over == 110).all()
    corner = np.arange(160 * 320 * 3, dtype=np.uint32).reshape(160, 320, 3)
    cut = square(corner, np.array([-10, -10, 10, 10], np.float32))
    assert (cut[12:, 12:] == corner[:12, :12]).all() and (cut[:12, :12] == corner[0, 0]).all()


def test_what_is_no_sign_shows_none(frames):
    crops, classes = cut_outs([frames], np.random.default_rng(1))
    assert 1 <= (classes == NONE).sum() <= 2 and (crops[classes == NONE] == 110).all()


def test_the_pool_draws_each_class_as_often(frames):
    crops, classes = cut_outs([frames], np.random.default_rng(0))
    keep = np.ones(len(classes), bool)
    keep[np.flatnonzero(classes == 30)[1:]] = False  # one left
    drawn, labels = Pool(crops[keep], classes[keep]).draw(3000, np.random.default_rng(2))
    counts = np.bincount(labels, minlength=NONE + 1)[[7, 30, NONE]]
    assert drawn.shape == (3000, 40, 40, 3) and labels.dtype == np.int64
    assert counts.min() > 850 and counts.sum() == 3000


def test_signs_of_several_folders(frames, monkeypatch):
    """Each folder's shards are read in order; the first folder's crops are those it gives alone."""
    asked = []

    def shards(folder, split):
        asked.append((folder, split))
        yield frames

    monkeypatch.setattr(dataset, "shards", shards)
    monkeypatch.setattr(dataset, "by_usual_camera", lambda shard: shard)
    alone, _ = seen_in(["a"], "val", np.random.default_rng(3))
    crops, classes = seen_in(["a", "b"], "val", np.random.default_rng(3))
    assert asked == [("a", "val"), ("a", "val"), ("b", "val")]
    assert (classes == 7).sum() == (classes == 30).sum() == 2 * 8 * TIMES
    assert (crops[:len(alone)] == alone).all()
