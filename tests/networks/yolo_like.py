"""A detector as people write them: SiLU as a module in blocks, as a function in neck and head."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Conv(nn.Module):
    def __init__(self, given: int, made: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(given, made, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(made)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class Bottlenecks(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.split = Conv(width, width, 1)
        self.blocks = nn.ModuleList(Conv(width // 2, width // 2) for _ in range(2))
        self.merge = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.split(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return functional.silu(self.merge(torch.cat(parts, 1)))


class Yolo(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(Conv(3, width, stride=2), Conv(width, 2 * width, stride=2))
        self.fine, self.coarse = Bottlenecks(2 * width), Bottlenecks(2 * width)
        self.down = Conv(2 * width, 2 * width, stride=2)
        self.boxes, self.scores = (nn.Conv2d(2 * width, n, 1) for n in (4, classes))

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        fine = self.fine(self.stem(x))
        coarse = self.coarse(self.down(fine))
        maps = fine + functional.interpolate(coarse, scale_factor=2), coarse
        features = [functional.silu(y) for y in maps]
        return {
            "boxes": [self.boxes(y) for y in features],
            "scores": [self.scores(y).sigmoid() for y in features],
        }


def build(width: int = 8, classes: int = 20) -> nn.Module:
    return Yolo(width, classes)
