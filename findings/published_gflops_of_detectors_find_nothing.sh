#!/usr/bin/env bash
# torchvision 0.29.1, torch 2.14.1: the GFLOPS published with a detector's weights are of an image in
# which it finds nothing, so that Mask R-CNN's are without any mask.
#
# The metadata of maskrcnn_resnet50_fpn and of fasterrcnn_resnet50_fpn both say 134.38: the mask head,
# all that the first has more, runs once for each box found, and on the image that was counted there
# was none. With as many boxes as it keeps, 100, the head adds 53 G multiply-accumulates, 40 %.
# Keypoint R-CNN's 137.42 has its head run for one person. Whoever compares a count of such a network
# with the published figure, or two detectors by it, compares all but their heads; the figure is
# reproduced to 0.01 % at 800 × 800 by a threshold that no box passes.
#
# Seen: "published 134.38 134.38, without boxes 134.380, with 100 boxes 187.586". Exit code 0 while
# that is so, 1 when it has changed.
# dynact measures a detector's backbone alone: dynact/networks/architectures.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.14.1 torchvision==0.29.1 numpy

cat > "$folder/detectors.py" <<'PYTHON'
import sys

import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model, get_model_weights


def published(name):
    return get_model_weights(name).DEFAULT.meta["_ops"]


def counted(**options):
    torch.manual_seed(0)
    network = get_model("maskrcnn_resnet50_fpn", weights=None, weights_backbone=None, **options)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        [found] = network.eval()([torch.rand(3, 800, 800)])
    return counter.get_total_flops() / 2e9, len(found["boxes"])


stated = published("maskrcnn_resnet50_fpn")
without, none = counted(box_score_thresh=1.1)
with_boxes, boxes = counted(box_score_thresh=0.0)
print(torch.__version__, torchvision.__version__)
print(
    f"published {stated} {published('fasterrcnn_resnet50_fpn')}, "
    f"without boxes {without:.3f}, with {boxes} boxes {with_boxes:.3f}"
)
of_nothing = none == 0 and abs(without / stated - 1) < 0.001
adds = boxes == 100 and with_boxes > 1.3 * stated
same = stated == published("fasterrcnn_resnet50_fpn")
sys.exit(0 if of_nothing and adds and same else 1)
PYTHON
"$folder/venv/bin/python" "$folder/detectors.py"
