"""The camera network: a glance at the half-size image by one shared backbone, then a glimpse at each likely sign.

Pixels go in as uint8 (preprocessing is part of the model) and every head's numbers come out in units of the road:
metres, or shares of the image. The glance sees 160 x 80 averaged pixels; the four best peaks of its sign map are then
cut out of the full frame and named by a second, small network. Losses, weights on disk and memory over time are not
here (tasks.py, checkpoint.py, perceiver.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d
from torch.nn.utils.fusion import fuse_conv_bn_eval

from envs.geometry import Array
from envs.labels import LANE_ROWS, PATH_STATIONS_M
from perception.surroundings import SurroundingsHead
from perception.tasks import NUM_NAMES

GLANCE_HEIGHT_PX, GLANCE_WIDTH_PX = 80, 160
SIGN_STRIDE_PX = 4  # of the glance: the sign map has 20 x 40 cells
SIGN_ROWS, SIGN_COLUMNS = GLANCE_HEIGHT_PX // SIGN_STRIDE_PX, GLANCE_WIDTH_PX // SIGN_STRIDE_PX
NUM_SIGNS = 4  # peaks that get a glimpse
CROP_PX, CROP_SCALE = 32, 1.3  # a glimpse shows the box and 15 % around it on each side
NUM_STOP_KINDS = 3  # values of envs.roads.network.Control: no line, stop line, yield line
PATH_POINTS = len(PATH_STATIONS_M)
EMBEDDING = 32
PIXEL_MEAN, PIXEL_SCALE = 118.0, 1 / 60.0  # rough mean and inverse spread of the camera's pixels


@dataclass(frozen=True)
class ModelConfig:
    """Widths of the network; the defaults are the shipped one."""

    stem: int = 16
    """channels at half the glance's size"""
    fine: int = 32
    """channels at a quarter, where signs are found"""
    middle: int = 64
    """channels at an eighth, where the road is read"""
    coarse: int = 96
    """channels at a sixteenth"""
    trunk: int = 128
    """size of the vector that path, boundaries and stop line are read from"""
    has_surroundings: bool = False
    """heads for lines of neighbour lanes, drivable ground and the own light; weights before them have none"""


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
    """Glance (N, 3, 80, 160) -> features at a quarter (N, fine, 20, 40) and an eighth (N, middle, 10, 20).

    Both levels have seen the sixteenth: its features are added on the way back up.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.down4 = nn.Sequential(convolution(3, config.stem, 3, 2), Separable(config.stem, config.fine, 2),
                                   Separable(config.fine, config.fine))
        self.down8 = nn.Sequential(Separable(config.fine, config.middle, 2), Separable(config.middle, config.middle),
                                   Separable(config.middle, config.middle))
        self.down16 = nn.Sequential(Separable(config.middle, config.coarse, 2), Separable(config.coarse, config.coarse),
                                    Separable(config.coarse, config.coarse))
        self.up8 = convolution(config.coarse, config.middle)
        self.up4 = convolution(config.middle, config.fine)
        self.mix8, self.mix4 = Separable(config.middle, config.middle), Separable(config.fine, config.fine)

    def forward(self, glance: Tensor) -> tuple[Tensor, Tensor]:
        at4 = self.down4(glance)
        at8 = self.down8(at4)
        at16 = self.down16(at8)
        at8 = self.mix8(at8 + interpolate(self.up8(at16), scale_factor=2.0))
        return self.mix4(at4 + interpolate(self.up4(at8), scale_factor=2.0)), at8


class LeadHead(nn.Module):
    """Features at an eighth (N, C, 10, 20) -> (N, 2, 20): log distance to the nearest obstacle and its log error.

    The image's 20 columns of features are the label's 20 columns; each is read from top to bottom as one vector.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = convolution(channels, 16)
        self.columns = nn.Sequential(nn.Conv1d(16 * GLANCE_HEIGHT_PX // 8, 32, 3, padding=1), nn.ReLU(inplace=True),
                                     nn.Conv1d(32, 2, 3, padding=1))

    def forward(self, at8: Tensor) -> Tensor:
        narrow = self.narrow(at8)
        return self.columns(narrow.flatten(1, 2))


class Glimpse(nn.Module):
    """Crops (K, 3, 32, 32) of the full frame -> name logits (K, NUM_NAMES), the last one "none of them"."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(convolution(3, 16, 3, 2), convolution(16, 32, 3, 2), convolution(32, 48, 3, 2),
                                    nn.Flatten(), nn.Dropout(0.2), nn.Linear(48 * 16, NUM_NAMES))

    def forward(self, crops: Tensor) -> Tensor:
        return self.layers(crops)


class DriveNet(nn.Module):
    """Image and command in, one tensor per head out; see `forward`."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config or ModelConfig()
        middle, fine, trunk = self.config.middle, self.config.fine, self.config.trunk
        self.backbone = Backbone(self.config)
        self.ground = convolution(middle, 12)
        ground_rows = GLANCE_HEIGHT_PX // 8 - 4  # the upper 4 of 10 rows show the sky
        self.trunk = nn.Sequential(nn.Linear(12 * ground_rows * GLANCE_WIDTH_PX // 8, trunk), nn.ReLU(inplace=True))
        self.embedding = nn.Linear(trunk, EMBEDDING)
        self.path = nn.Sequential(nn.Linear(EMBEDDING + 5, 128), nn.ReLU(inplace=True),
                                  nn.Linear(128, PATH_POINTS * 2 + 1))
        self.boundary = nn.Linear(trunk, 2 * LANE_ROWS * 2)
        self.stop = nn.Sequential(nn.Linear(trunk, 64), nn.ReLU(inplace=True), nn.Linear(64, NUM_STOP_KINDS + 1))
        self.lead = LeadHead(middle)
        self.sign = nn.Sequential(Separable(fine, fine), nn.Conv2d(fine, 6, 1))
        self.glimpse = Glimpse()
        self.around = SurroundingsHead(fine, middle, trunk) if self.config.has_surroundings else None
        self.path_mean: Tensor
        self.path_std: Tensor
        self.register_buffer("path_mean", _straight())
        self.register_buffer("path_std", torch.ones(PATH_POINTS, 2))
        nn.init.constant_(self.sign[1].bias[:1], -4.0)  # type: ignore[index,arg-type]  # signs are rare at the start

    def forward(self, image: Tensor, command: Tensor) -> dict[str, Tensor]:
        """Everything the network knows about a batch of frames.

        image: uint8 (N, H, W, 3) RGB of any size with the trained camera's shape; command: float32 (N, 5), one-hot of
        Command and metres to the manoeuvre. Returns the heads of `look` and, of the NUM_SIGNS best peaks, sign_box
        (N, 4, 4) left, top, right, bottom as shares of width and height, sign_peak (N, 4) in [0, 1], sign_distance_m
        (N, 4) and sign_logits (N, 4, NUM_NAMES).
        """
        return with_glimpses(self.look(glance_of(image), command), image, self.glimpse)

    def look(self, glance: Tensor, command: Tensor) -> dict[str, Tensor]:
        """The heads on the glance (N, 3, 80, 160) of `glance_of`, and the command (N, 5).

        path (N, 12, 2) x, y in the ego frame [m]; path_log_error (N,) log of the expected lateral error [m];
        boundary (N, 2, 16) share of the width, left then right; boundary_logit (N, 2, 16) presence; stop_logits (N, 3)
        by kind of line; stop (N,) distance as a share of STOP_MAX_M; lead (N, 20) log metres; lead_log_error (N, 20);
        sign_map (N, 6, 20, 40) heat logit, offset x, y [cells], log width, log height [glance px], log distance [m];
        embedding (N, 32) in [-1, 1]; and those of SurroundingsHead, if the network has it.
        """
        at4, at8 = self.backbone(glance)
        trunk = self.trunk(self.ground(at8[:, :, 4:]).flatten(1))
        embedding = torch.tanh(self.embedding(trunk))
        scale = torch.tensor([1.0, 1.0, 1.0, 1.0, 1 / 60.0], device=command.device)
        path = self.path(torch.cat([embedding, command * scale], dim=1))
        boundary = self.boundary(trunk).unflatten(1, (2, 2, LANE_ROWS))
        stop, lead = self.stop(trunk), self.lead(at8)
        around = self.around(at4, at8, trunk) if self.around is not None else {}
        return around | {
            "path": path[:, :-1].unflatten(1, (PATH_POINTS, 2)) * self.path_std + self.path_mean,
            "path_log_error": path[:, -1],
            "boundary": boundary[:, 0] + 0.5, "boundary_logit": boundary[:, 1],
            "stop_logits": stop[:, :NUM_STOP_KINDS], "stop": stop[:, NUM_STOP_KINDS] + 0.5,
            "lead": lead[:, 0] + 2.5, "lead_log_error": lead[:, 1],
            "sign_map": self.sign(at4), "embedding": embedding,
        }


def _straight() -> Tensor:
    """Straight ahead (12, 2): where the path head starts before `path_mean` is set from data."""
    ahead = torch.tensor(PATH_STATIONS_M, dtype=torch.float32)
    return torch.stack([ahead, torch.zeros_like(ahead)], dim=1)


def glance_of(image: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> normalised float32 (N, 3, 80, 160), channels last, by OpenCV's area averaging.

    (Twenty times faster on a CPU than torch's pooling, which would average floats.)
    """
    glance = np.empty((len(image), GLANCE_HEIGHT_PX, GLANCE_WIDTH_PX, 3), np.uint8)
    for frame, small in zip(image.numpy(), glance, strict=True):
        cv2.resize(frame, (GLANCE_WIDTH_PX, GLANCE_HEIGHT_PX), dst=small, interpolation=cv2.INTER_AREA)
    return normalised(glance)


def normalised(pixels: Array) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) of mean about 0 and spread about 1, channels last."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub_(PIXEL_MEAN).mul_(PIXEL_SCALE)


def with_glimpses(outputs: dict[str, Tensor], image: Tensor, name: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The heads of `look` and what `name` makes of the crops at the peaks of its sign map; see DriveNet.forward."""
    signs = find_peaks(outputs["sign_map"])
    crops = cut_crops(image, signs["sign_box"])
    logits = name(crops.flatten(0, 1)).unflatten(0, crops.shape[:2])
    return outputs | signs | {"sign_logits": logits}


def find_peaks(sign_map: Tensor) -> dict[str, Tensor]:
    """The NUM_SIGNS strongest local maxima of a sign map (N, 6, 20, 40), decoded; see DriveNet.forward."""
    heat = torch.sigmoid(sign_map[:, 0])
    is_peak = heat == max_pool2d(heat[:, None], 3, 1, 1)[:, 0]
    peak, cell = torch.where(is_peak, heat, 0.0).flatten(1).topk(NUM_SIGNS, dim=1)
    values = sign_map[:, 1:].flatten(2).gather(2, cell[:, None].expand(-1, 5, -1))  # (N, 5, NUM_SIGNS)
    centre_x = ((cell % SIGN_COLUMNS) + values[:, 0].clamp(0, 1)) / SIGN_COLUMNS
    centre_y = ((cell // SIGN_COLUMNS) + values[:, 1].clamp(0, 1)) / SIGN_ROWS
    half_width = values[:, 2].clamp(-1, 5).exp() / GLANCE_WIDTH_PX / 2
    half_height = values[:, 3].clamp(-1, 5).exp() / GLANCE_HEIGHT_PX / 2
    box = torch.stack([centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height], 2)
    return {"sign_box": box, "sign_peak": peak, "sign_distance_m": values[:, 4].clamp(-1, 5).exp()}


def cut_crops(image: Tensor, boxes: Tensor) -> Tensor:
    """Bilinear cut-outs of boxes (N, K, 4) (shares of the image) from uint8 (N, H, W, 3).

    Returns normalised float32 (N, K, 3, 32, 32); each shows a square of CROP_SCALE times the box's longer side, and
    repeats the border pixels outside the image.
    """
    n, height, width, _ = image.shape
    size = torch.tensor([width, height, width, height], device=boxes.device)
    left, top, right, bottom = (boxes * size).unbind(2)
    side = torch.maximum(right - left, bottom - top).clamp(min=2.0) * CROP_SCALE
    step = (torch.arange(CROP_PX, device=boxes.device) + 0.5) / CROP_PX - 0.5
    u = (((left + right) / 2)[..., None] + side[..., None] * step - 0.5).clamp(0, width - 1)  # (N, K, 32)
    v = (((top + bottom) / 2)[..., None] + side[..., None] * step - 0.5).clamp(0, height - 1)
    u0, v0 = u.floor().long().clamp(max=width - 2), v.floor().long().clamp(max=height - 2)
    share_u, share_v = (u - u0)[:, :, None, :, None], (v - v0)[:, :, :, None, None]
    start = torch.arange(n, device=boxes.device)[:, None, None, None] * (height * width)
    at = (start + v0[..., :, None] * width + u0[..., None, :]).flatten()
    pixels = image.reshape(n * height * width, 3)  # index_select is three times faster than pixels[at]
    corners = [pixels.index_select(0, at + step).view(*u.shape[:2], CROP_PX, CROP_PX, 3).float()
               for step in (0, 1, width, width + 1)]
    upper, lower = torch.lerp(corners[0], corners[1], share_u), torch.lerp(corners[2], corners[3], share_u)
    crops = torch.lerp(upper, lower, share_v)
    return ((crops - PIXEL_MEAN) * PIXEL_SCALE).permute(0, 1, 4, 2, 3)


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
    """What a checkpoint must say to rebuild the model: its widths and its number of parameters."""
    return {"model": asdict(model.config), "num_parameters": sum(p.numel() for p in model.parameters())}

