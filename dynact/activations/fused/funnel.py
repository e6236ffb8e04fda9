"""FReLU and its light form as graphs: depthwise convolutions as sums of shifted windows.

A library's convolution, its gradients, BatchNorm and the maximum are passes of their own. Here what
is read once is used for several of them.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dynact.activations._checks import check_input
from dynact.activations._tensors import in_dtype_of, is_channels_last
from dynact.activations.funnel import FReLU, FReLULight
from dynact.activations.fused.graph import Constants, Graph
from dynact.activations.fused.masks import is_positive

Branch = tuple[nn.Conv2d, nn.BatchNorm2d]


class FusedFReLU(FReLU):
    """`FReLU` as one graph: its parameters, options and errors.

    Where its parts were replaced, as BatchNorm is by SyncBatchNorm, or have hooks, they are called.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the larger of x and its funnel condition, elementwise."""
        check_input(x, self.channels)
        branches = [(self.conv, self.bn)]
        return _funnel(x, branches) if _as_made(x, branches) else super().forward(x)


class FusedFReLULight(FReLULight):
    """`FReLULight` as one graph: its parameters, options and errors.

    Where its parts were replaced, as BatchNorm is by SyncBatchNorm, or have hooks, they are called.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the larger of x and its funnel condition, elementwise."""
        check_input(x, self.channels)
        branches = [(self.conv_1x3, self.bn_1x3), (self.conv_3x1, self.bn_3x1)]
        return _funnel(x, branches) if _as_made(x, branches) else super().forward(x)


def _as_made(x: Tensor, branches: Sequence[Branch]) -> bool:
    """Return whether the graphs do what the parts would."""
    # A compiler around a whole network, and a tensor without values, get the parts themselves.
    if torch.compiler.is_compiling() or x.is_meta or x.numel() == 0:
        return False
    return all(
        type(conv) is nn.Conv2d
        and type(bn) is nn.BatchNorm2d
        and conv.groups == conv.out_channels == x.shape[1]
        and (conv.stride, conv.dilation, conv.padding_mode) == ((1, 1), (1, 1), "zeros")
        and conv.padding == tuple(size // 2 for size in conv.kernel_size)
        # The parts refuse it, but for autocast.
        and (conv.weight.dtype == x.dtype or torch.is_autocast_enabled(x.device.type))
        and bn.affine
        and bn.track_running_stats
        and bn.training == branches[0][1].training
        # Such as those that compute a pruned weight.
        and not (conv._forward_pre_hooks or conv._forward_hooks)
        and not (bn._forward_pre_hooks or bn._forward_hooks)
        for conv, bn in branches
    )


def _funnel(x: Tensor, branches: Sequence[Branch]) -> Tensor:
    """Return max(x, T(x)), where T(x) is the sum of the branches, BN(conv(x)) each."""
    # Sizes of a map are constants of a graph: with variable ones its loops take twice as long.
    constants = {
        "size": tuple(x.shape[2:]),
        "kernels": tuple(conv.kernel_size for conv, _ in branches),
        "eps": tuple(bn.eps for _, bn in branches),
    }
    if branches[0][1].training:
        return _of_batch(x, branches, constants)
    parameters: list[Tensor] = []
    for conv, bn in branches:
        mean, variance = bn.running_mean, bn.running_var
        assert mean is not None
        assert variance is not None
        if torch.is_grad_enabled():
            # A batch may be remembered before the backward pass.
            mean, variance = mean.clone(), variance.clone()
        mean = mean if conv.bias is None else mean - conv.bias
        parameters += [conv.weight, bn.weight, bn.bias, mean, variance]
    return _AS_REMEMBERED(x, *parameters, **constants)


def _of_batch(x: Tensor, branches: Sequence[Branch], constants: dict[str, Any]) -> Tensor:
    count = _count(x)
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got {x.shape}")
    parameters = [p for conv, bn in branches for p in (conv.weight, bn.weight, bn.bias)]
    biases = [conv.bias for conv, _ in branches if conv.bias is not None]
    y: Tensor
    y, *statistics = _OfBatch.apply(tuple(constants.items()), len(biases), *biases, x, *parameters)
    with torch.no_grad():
        for (conv, bn), (mean, variance) in zip(branches, _by(2, statistics), strict=True):
            mean = mean if conv.bias is None else mean + conv.bias
            _remember(bn, mean, variance * (count / (count - 1)))
    return y


def _remember(bn: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert bn.running_mean is not None
    assert bn.running_var is not None
    assert bn.num_batches_tracked is not None
    bn.num_batches_tracked.add_(1)
    share = 1 / int(bn.num_batches_tracked) if bn.momentum is None else bn.momentum
    bn.running_mean.lerp_(mean.to(bn.running_mean.dtype), share)
    bn.running_var.lerp_(variance.to(bn.running_var.dtype), share)


class _OfBatch(torch.autograd.Function):
    """Returns the output and, of each branch, mean and variance of its convolution."""

    @staticmethod
    def forward(ctx: Any, constants: Constants, biases: int, *inputs: Tensor) -> Any:
        x, *parameters = inputs[biases:]
        y, *statistics = _OF_BATCH.forward(constants, x, *parameters)
        ctx.constants, ctx.biases = constants, inputs[:biases]
        ctx.save_for_backward(x, *parameters, *statistics)
        ctx.mark_non_differentiable(*statistics)
        return y, *statistics

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> Any:
        each = 3 * len(dict(ctx.constants)["kernels"])
        x, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            found: tuple[Tensor, ...] = _differentiable_gradients(
                ctx.constants, gradient, x, *kept[:each]
            )
        else:
            of_x, of_beta, *others = _GRADIENTS.forward(ctx.constants, gradient, x, *kept)
            betas = kept[2:each:3]
            found = (
                of_x,
                *(
                    tensor
                    for two, beta in zip(_by(2, others), betas, strict=True)
                    for tensor in (*two, of_beta.to(beta.dtype, copy=True))
                ),
            )
        # BatchNorm takes a bias away again.
        of_biases = [torch.zeros_like(bias) for bias in ctx.biases]
        needed = ctx.needs_input_grad[2:]
        every = zip((*of_biases, *found), needed, strict=True)
        return None, None, *(tensor if need else None for tensor, need in every)


def _differentiable_gradients(
    constants: Constants, gradient: Tensor, *inputs: Tensor
) -> tuple[Tensor, ...]:
    """Return what `_gradients` does, each with a graph of its own."""
    # Aliases: one input may have been computed from another, which is not this graph's part.
    aliases = [
        tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
        for tensor in inputs
    ]
    y = _plainly_of_batch(*aliases, **dict(constants))
    return torch.autograd.grad(y, aliases, gradient, create_graph=True)


def _by(length: int, each: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    return (each[start : start + length] for start in range(0, len(each), length))


def _windows(x: Tensor, size: Sequence[int], kernel: Sequence[int]) -> list[Tensor]:
    """Return what each weight of a kernel is multiplied by: x shifted, zeros outside."""
    rows, columns = kernel
    channels_last = is_channels_last(x)
    # As the elements lie in memory: the last dimension there has neighbours.
    around = columns // 2, columns // 2, rows // 2, rows // 2
    if channels_last:
        padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, *around)).contiguous()
    else:
        padded = functional.pad(x, around).contiguous()
    # By its strides, so that the padded tensor is written down first: each window would otherwise
    # be x, read under a condition at every element.
    height, width = size
    step = x.shape[1] if channels_last else 1
    of_row = (width + columns // 2 * 2) * step
    of_map = of_row * (height + rows // 2 * 2)
    starts = [i * of_row + j * step for i in range(rows) for j in range(columns)]
    if channels_last:
        shape, strides = (x.shape[0], height, width, x.shape[1]), (of_map, of_row, step, 1)
        return [padded.as_strided(shape, strides, at).permute(0, 3, 1, 2) for at in starts]
    shape, strides = (*x.shape[:2], height, width), (x.shape[1] * of_map, of_map, of_row, 1)
    return [padded.as_strided(shape, strides, at) for at in starts]


def _written(of_channels: Tensor) -> Tensor:
    """Return the same, written down: or it is computed again at every element that it is for."""
    shape = of_channels.shape
    return of_channels.as_strided(shape, (shape[1:].numel(), 1)[-len(shape) :])


def _convolved(windows: Sequence[Tensor], weight: Tensor) -> Tensor:
    """Return the sum of (C, terms) weights times their windows."""
    dtype = weight.dtype
    terms = (_per_channel(weight[:, k]) * window.to(dtype) for k, window in enumerate(windows))
    return functools.reduce(torch.add, terms)


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _per_channel(v: Tensor) -> Tensor:
    return v.reshape(1, -1, 1, 1)


def _count(x: Tensor) -> int:
    """Return the number of values of a channel."""
    return x.shape[0] * x.shape[2] * x.shape[3]


def _summed(z: Tensor) -> Tensor:
    """Return the sum over all but the channels."""
    return z.sum(dim=(0, 2, 3))


def _as_remembered(x: Tensor, *parameters: Tensor, size: Any, kernels: Any, eps: Any) -> Tensor:
    """Return max(x, T(x)) with the statistics that BatchNorm remembers."""
    condition = []
    for kernel, epsilon, of in zip(kernels, eps, _by(5, parameters), strict=True):
        weight, gamma, beta, mean, variance = (tensor.to(_wide(x)) for tensor in of)
        scale = gamma * torch.rsqrt(variance + epsilon)
        folded = _written(weight.flatten(1) * scale.unsqueeze(1))
        z = _convolved(_windows(x, size, kernel), folded)
        condition.append(z + _per_channel(_written(beta - mean * scale)))
    return torch.maximum(x, in_dtype_of(x, functools.reduce(torch.add, condition)))


def _plainly_as_remembered(
    x: Tensor, *parameters: Tensor, kernels: Any, eps: Any, **_: Any
) -> Tensor:
    """Return the same by a library's calls, which can be differentiated."""
    condition, shifts = [], []
    for kernel, epsilon, (weight, *of) in zip(kernels, eps, _by(5, parameters), strict=True):
        gamma, beta, mean, variance = (tensor.to(_wide(x)) for tensor in of)
        scale = gamma * torch.rsqrt(variance + epsilon)
        condition.append(_convolution(x, weight, kernel) * _per_channel(scale))
        shifts.append(beta - mean * scale)
    # Shifts are added first: torch 2.14.1 cannot compile a sum in bfloat16 that is two results.
    shift = _per_channel(functools.reduce(torch.add, shifts))
    return torch.maximum(x, in_dtype_of(x, functools.reduce(torch.add, condition) + shift))


def _plainly_of_batch(x: Tensor, *parameters: Tensor, kernels: Any, eps: Any, **_: Any) -> Tensor:
    condition = []
    for kernel, epsilon, (weight, gamma, beta) in zip(
        kernels, eps, _by(3, parameters), strict=True
    ):
        z = _convolution(x, weight, kernel)
        affine = gamma.to(z.dtype), beta.to(z.dtype)
        condition.append(functional.batch_norm(z, None, None, *affine, training=True, eps=epsilon))
    return torch.maximum(x, in_dtype_of(x, functools.reduce(torch.add, condition)))


def _convolution(x: Tensor, weight: Tensor, kernel: Sequence[int]) -> Tensor:
    """Return the depthwise convolution as exact as the windows' sum, whatever autocast says."""
    dtype, padding = _wide(x), (kernel[0] // 2, kernel[1] // 2)
    with torch.autocast(x.device.type, enabled=False):
        x, weight = x.to(dtype), weight.to(dtype)
        return functional.conv2d(x, weight, padding=padding, groups=x.shape[1])


def _with_statistics(
    x: Tensor, *parameters: Tensor, size: Any, kernels: Any, eps: Any
) -> tuple[Tensor, ...]:
    """Return max(x, T(x)) with the batch's own statistics, and these."""
    condition, statistics = [], []
    for kernel, epsilon, of in zip(kernels, eps, _by(3, parameters), strict=True):
        weight, gamma, beta = (tensor.to(_wide(x)) for tensor in of)
        z = _convolved(_windows(x, size, kernel), weight.flatten(1))
        mean = _written(_summed(z) / _count(x))
        centred = z - _per_channel(mean)
        variance = _summed(centred * centred) / _count(x)
        scale = _written(gamma * torch.rsqrt(variance + epsilon))
        condition.append(centred * _per_channel(scale) + _per_channel(beta))
        statistics += [mean, variance]
    y = torch.maximum(x, in_dtype_of(x, functools.reduce(torch.add, condition)))
    return y, *statistics


def _gradients(
    gradient: Tensor, x: Tensor, *kept: Tensor, size: Any, kernels: Any, eps: Any
) -> tuple[Tensor, ...]:
    """Return the gradients of x, of any branch's β, and of each branch's weight and γ."""
    parameters, statistics = kept[: 3 * len(kernels)], kept[3 * len(kernels) :]
    dtype = _wide(x)
    branches = []
    for kernel, epsilon, of, (mean, variance) in zip(
        kernels, eps, _by(3, parameters), _by(2, statistics), strict=True
    ):
        weight, gamma, beta = (tensor.to(dtype) for tensor in of)
        windows = _windows(x, size, kernel)
        scale = _written(torch.rsqrt(variance + epsilon))
        unit = (_convolved(windows, weight.flatten(1)) - _per_channel(mean)) * _per_channel(scale)
        branches.append((weight, gamma, beta, windows, scale, unit))
    condition = functools.reduce(
        torch.add,
        (
            unit * _per_channel(gamma) + _per_channel(beta)
            for _, gamma, beta, _, _, unit in branches
        ),
    )
    higher = condition - x
    # Of equal ones each has half, as torch.maximum has it.
    share = (1 + is_positive(higher) - is_positive(-higher)) / 2
    of_condition = gradient.to(dtype) * share
    of_beta = _summed(of_condition)
    of_x = gradient - of_condition
    found = []
    for kernel, (weight, gamma, _, windows, scale, unit) in zip(kernels, branches, strict=True):
        of_gamma = _summed(of_condition * unit)
        mean, along = (_per_channel(_written(each / _count(x))) for each in (of_beta, of_gamma))
        of_z = (of_condition - mean - unit * along) * _per_channel(_written(gamma * scale))
        of_x = of_x + _convolved(_windows(of_z, size, kernel), weight.flatten(1).flip(1))
        of_weight = torch.stack([_summed(of_z * window) for window in windows], dim=1)
        found += [of_weight.reshape(weight.shape), of_gamma]
    asked = zip(found, (p for i, p in enumerate(parameters) if i % 3 < 2), strict=True)
    return (
        in_dtype_of(x, of_x),
        of_beta,
        *(in_dtype_of(parameter, each) for each, parameter in asked),
    )


_BATCH_AND_CHANNELS = 0, 1
_AS_REMEMBERED = Graph(_as_remembered, _plainly_as_remembered, variable=_BATCH_AND_CHANNELS)
_OF_BATCH = Graph(_with_statistics, variable=_BATCH_AND_CHANNELS)
_GRADIENTS = Graph(_gradients, variable=_BATCH_AND_CHANNELS)
