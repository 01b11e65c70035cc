"""The camera network: one shared backbone looks at the half-size image and at the full-size band around the horizon.

Pixels go in as uint8 (preprocessing is part of the model) and every head's numbers come out in units of the road:
metres, or shares of the image. The glance sees 160 x 80 averaged pixels of the whole frame; the band is the half of the
frame in which everything far away lies, with all its pixels. Losses, weights on disk, names of signs and memory over
time are not here (tasks.py, checkpoint.py, namer.py, perceiver.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

from envs.geometry import Array
from envs.labels import PATH_STATIONS_M
from envs.roads.routes import COMMAND_HIGH
from perception.calibration import OddsMap
from perception.finder import BAND_BOTTOM, BAND_TOP, FinderHead, find_peaks
from perception.navigation import WAY, way_told
from perception.surroundings import NODES, GroundHead, LightHead, LinesHead

GLANCE_HEIGHT_PX, GLANCE_WIDTH_PX = 80, 160
BAND_HEIGHT_PX, BAND_WIDTH_PX = 80, 320
BAND_FIRST, BAND_LAST = 2, 12  # rows of the glance at a quarter that the band covers
NUM_STOP_KINDS = 3  # values of envs.roads.network.Control: no line, stop line, yield line
PATH_POINTS = len(PATH_STATIONS_M)
EMBEDDING = 32
PIXEL_MEAN, PIXEL_SCALE = 118.0, 1 / 60.0  # rough mean and inverse spread of the camera's pixels


@dataclass(frozen=True)
class ModelConfig:
    """Widths of the network; the defaults are the shipped one."""

    stem: int = 16
    """channels at half the glance's and the band's size"""
    fine: int = 32
    """channels at a quarter"""
    middle: int = 80
    """channels at an eighth of the glance, where the road is read"""
    coarse: int = 128
    """channels at a sixteenth of the glance"""
    found: int = 48
    """channels of the band's last features, where things are found"""
    trunk: int = 128
    """size of the vector that path and stop line are read from"""


def convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Separable(nn.Module):
    """Depthwise 3 x 3 then pointwise convolution, with a bypass where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(convolution(inputs, inputs, 3, stride, inputs), convolution(inputs, outputs))
        self.has_bypass = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return x + self.layers(x) if self.has_bypass else self.layers(x)


class Backbone(nn.Module):
    """Glance (N, 3, 80, 160) and band (N, 3, 80, 320) -> features of the glance at a quarter (N, fine, 20, 40) and an
    eighth (N, middle, 10, 20), and of the band at a quarter (N, found, 20, 80).

    What the band sees goes into the glance's quarter; all levels have seen the sixteenth, whose features are added on
    the way back up, to the band at last.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        stem, fine, middle, coarse = config.stem, config.fine, config.middle, config.coarse
        self.band4 = nn.Sequential(convolution(3, stem, 3, 2), Separable(stem, fine, 2), Separable(fine, fine))
        self.band8 = Separable(fine, fine, 2)
        self.down4 = nn.Sequential(convolution(3, stem, 3, 2), Separable(stem, fine, 2), Separable(fine, fine))
        self.down8 = nn.Sequential(Separable(fine, middle, 2), Separable(middle, middle), Separable(middle, middle))
        self.down16 = nn.Sequential(Separable(middle, coarse, 2), Separable(coarse, coarse), Separable(coarse, coarse))
        self.up8, self.up4, self.up_band = (convolution(coarse, middle), convolution(middle, fine),
                                            convolution(fine, fine))
        self.mix8, self.mix4 = Separable(middle, middle), Separable(fine, fine)
        self.mix_band = nn.Sequential(Separable(fine, fine), Separable(fine, config.found))

    def forward(self, glance: Tensor, band: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        band4 = self.band4(band)
        at4 = self.down4(glance) + pad(self.band8(band4), (0, 0, BAND_FIRST, 20 - BAND_LAST))
        at8 = self.down8(at4)
        at8 = self.mix8(at8 + interpolate(self.up8(self.down16(at8)), scale_factor=2.0))
        at4 = self.mix4(at4 + interpolate(self.up4(at8), scale_factor=2.0))
        wide = interpolate(self.up_band(at4[:, :, BAND_FIRST:BAND_LAST]), scale_factor=2.0)
        return at4, at8, self.mix_band(band4 + wide)


class LeadHead(nn.Module):
    """Features at an eighth (N, C, 10, 20) and of the band (N, F, 20, 80) -> (N, 2, 20): log distance to the nearest
    obstacle and its log error.

    The image's 20 columns of features are the label's 20 columns; each is read from top to bottom as one vector.
    """

    def __init__(self, channels: int, found: int) -> None:
        super().__init__()
        self.narrow, self.narrow_band = convolution(channels, 16), convolution(found, 12)
        self.column = nn.Conv2d(16, 32, (GLANCE_HEIGHT_PX // 8, 1))
        self.band_column = nn.Conv2d(12, 32, (BAND_HEIGHT_PX // 4, 4), (1, 4))
        self.columns = nn.Sequential(nn.ReLU(inplace=True), nn.Conv1d(32, 32, 3, padding=1), nn.ReLU(inplace=True),
                                     nn.Conv1d(32, 2, 3, padding=1))

    def forward(self, at8: Tensor, band: Tensor) -> Tensor:
        columns = self.column(self.narrow(at8)) + self.band_column(self.narrow_band(band))
        return self.columns(columns[:, :, 0])


class DriveNet(nn.Module):
    """Image and command in, one tensor per head out; see `forward`."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config or ModelConfig()
        middle, fine, found, trunk = self.config.middle, self.config.fine, self.config.found, self.config.trunk
        self.backbone = Backbone(self.config)
        self.ground = convolution(middle, 12)
        ground_rows = GLANCE_HEIGHT_PX // 8 - 4  # the upper 4 of 10 rows show the sky
        self.trunk = nn.Sequential(nn.Linear(12 * ground_rows * GLANCE_WIDTH_PX // 8, trunk), nn.ReLU(inplace=True))
        self.embedding = nn.Linear(trunk, EMBEDDING)
        self.path = nn.Sequential(nn.Linear(trunk + EMBEDDING + 4 * NODES + len(COMMAND_HIGH) + WAY, 128),
                                  nn.ReLU(inplace=True), nn.Linear(128, 128), nn.ReLU(inplace=True),
                                  nn.Linear(128, PATH_POINTS * 2 + 1))
        self.stop = nn.Sequential(nn.Linear(trunk, 64), nn.ReLU(inplace=True), nn.Linear(64, NUM_STOP_KINDS + 1))
        self.lead = LeadHead(middle, found)
        self.lines, self.drivable = LinesHead(fine, found, trunk), GroundHead(fine)
        self.finder, self.light = FinderHead(found), LightHead(found, trunk)
        self.odds: dict[str, OddsMap] = {}  # by head: what makes its confidences true (calibration.py)
        self.path_mean: Tensor
        self.path_std: Tensor
        self.register_buffer("path_mean", _straight())
        self.register_buffer("path_std", torch.ones(PATH_POINTS, 2))

    def forward(self, image: Tensor, command: Tensor) -> dict[str, Tensor]:
        """Everything the network knows about a batch of frames.

        image: uint8 (N, H, W, 3) RGB of any size with the trained camera's shape; command: float32 (N, 10), what the
        navigation says (envs.roads.routes.COMMAND_HIGH). Returns the heads of `look` and the things of find_peaks.
        """
        outputs = self.look(glance_of(image), band_of(image), command)
        return outputs | find_peaks(outputs)

    def look(self, glance: Tensor, band: Tensor, command: Tensor) -> dict[str, Tensor]:
        """The heads on the glance (N, 3, 80, 160), the band (N, 3, 80, 320) and the command (N, 10).

        path (N, 12, 2) x, y in the ego frame [m]; path_log_error (N,) log of the expected lateral error [m]; path_given
        (N, F) what `path_of` made them of;
        stop_logits (N, 3) by kind of line; stop (N,) distance as a share of STOP_MAX_M; lead (N, 20) log metres;
        lead_log_error (N, 20); embedding (N, 32) in [-1, 1]; boundary (N, 2, 16) share of the width, left then right;
        boundary_logit (N, 2, 16) presence; boundary_log_spread (N, 2, 16) log of the standard deviation of its place;
        and what FinderHead, LinesHead, GroundHead and LightHead say.
        """
        at4, at8, found = self.backbone(glance, band)
        trunk = self.trunk(self.ground(at8[:, :, 4:]).flatten(1))
        embedding = torch.tanh(self.embedding(trunk))
        said = command / torch.from_numpy(COMMAND_HIGH).to(command.device)
        lines = self.lines(at4, found, trunk, said)
        columns = lines["line_columns"].flatten(1) * 2 - 1
        given = torch.cat([trunk, embedding, columns, said, way_told(command)], dim=1)
        stop, lead, things = self.stop(trunk), self.lead(at8, found), self.finder(found)
        seen = lines | things | self.drivable(at4) | self.light(found, things["phases"], trunk, said)
        return seen | self.path_of(given) | {
            "path_given": given,
            "stop_logits": stop[:, :NUM_STOP_KINDS], "stop": stop[:, NUM_STOP_KINDS] + 0.5,
            "lead": lead[:, 0] + 2.5, "lead_log_error": lead[:, 1], "embedding": embedding,
        }

    def path_of(self, given: Tensor) -> dict[str, Tensor]:
        """The path and its expected error, from what the head is given (N, F) of all that was seen and told."""
        told = self.path(given)
        return {"path": told[:, :-1].unflatten(1, (PATH_POINTS, 2)) * self.path_std + self.path_mean,
                "path_log_error": told[:, -1]}


def _straight() -> Tensor:
    """Straight ahead (12, 2): where the path head starts before `path_mean` is set from data."""
    ahead = torch.tensor(PATH_STATIONS_M, dtype=torch.float32)
    return torch.stack([ahead, torch.zeros_like(ahead)], dim=1)


def glance_of(image: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> normalised float32 (N, 3, 80, 160), channels last: the whole frame at half size."""
    return normalised(glance_pixels(image.numpy()))


def band_of(image: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> normalised float32 (N, 3, 80, 320), channels last: the rows around the horizon."""
    return normalised(band_pixels(image.numpy()))


def glance_pixels(image: Array) -> Array:
    """uint8 (N, H, W, 3) -> uint8 (N, 80, 160, 3), by OpenCV's area averaging."""
    return _averaged(image, GLANCE_WIDTH_PX, GLANCE_HEIGHT_PX)


def band_pixels(image: Array) -> Array:
    """uint8 (N, H, W, 3) -> uint8 (N, 80, 320, 3)."""
    height = image.shape[1]
    rows = image[:, round(BAND_TOP * height):round(BAND_BOTTOM * height)]
    is_full = rows.shape[1:3] == (BAND_HEIGHT_PX, BAND_WIDTH_PX)
    return np.ascontiguousarray(rows) if is_full else _averaged(rows, BAND_WIDTH_PX, BAND_HEIGHT_PX)


def _averaged(pixels: Array, width_px: int, height_px: int) -> Array:
    """uint8 (N, H, W, 3) at another size."""
    small = np.empty((len(pixels), height_px, width_px, 3), np.uint8)
    for frame, out in zip(pixels, small, strict=True):
        cv2.resize(frame, (width_px, height_px), dst=out, interpolation=cv2.INTER_AREA)
    return small


def normalised(pixels: Array) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) of mean about 0 and spread about 1, channels last."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub_(PIXEL_MEAN).mul_(PIXEL_SCALE)


def frozen(model: DriveNet) -> DriveNet:
    """The same function for inference: batch normalisation folded into the convolutions, channels last, no gradients.

    Changes and returns the model given.
    """
    folded(model)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def folded(model: nn.Module) -> None:
    """Set a network for inference in place: no gradients, batch normalisation folded into the convolutions before."""
    model.eval().requires_grad_(False)
    for module in list(model.modules()):
        if isinstance(module, nn.Sequential) and len(module) == 3 and isinstance(module[1], nn.BatchNorm2d):
            module[0] = fuse_conv_bn_eval(module[0], module[1])  # type: ignore[type-var]
            module[1] = nn.Identity()


def describe(model: DriveNet) -> dict[str, object]:
    """What a checkpoint must say to rebuild the model: widths, maps of its confidences, number of parameters."""
    return {"model": asdict(model.config), "odds": model.odds,
            "num_parameters": sum(p.numel() for p in model.parameters())}

