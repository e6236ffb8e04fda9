"""LeNet as PyTorch's CIFAR-10 tutorial has it."""

import torch
from torch import Tensor, nn


class LeNet(nn.Module):
    """Two 5×5 convolutions, each with ReLU and 2×2 pooling, and three fully connected layers.

    (N, 3, 32, 32) → (N, 10). Parameters: 62,006.
    Source: the tutorial "Training a Classifier" of PyTorch, after LeCun et al. 1998. The tutorial
    calls ReLU as a function; here it is a module for each call, so that one in its place is
    called the same way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.relu1 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu2 = nn.ReLU()
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.relu4 = nn.ReLU()
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the classes' logits."""
        x = self.pool(self.relu1(self.conv1(x)))
        x = self.pool(self.relu2(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = self.relu3(self.fc1(x))
        x = self.relu4(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits
