"""Whether an implementation does what its reference does: outputs, gradients, and no harm."""

import copy

import torch
from torch import Tensor, nn

from dynact.schema.cases import Case
from dynact.worker.modes import MEMORY_FORMATS
from dynact.worker.shapes import input_shape

# Of the reference's own error against float64, and roundings of a usual value beside.
TIMES_THE_ERROR = 2
ROUNDINGS = 8
# In which generated code adds, on a CPU with the widest vectors.
LANES = 16
# Squares and sums of these stay far from the largest number.
LARGE = {"float16": 100.0}
TIES = "ties, zeros and large values"
SEED = 7


class WrongError(Exception):
    """An implementation does not do what the reference does."""


def verify(found: nn.Module, plain: nn.Module, case: Case, device: torch.device) -> None:
    """Compare an implementation with the reference, at a case's shape and memory format.

    On three draws, against the reference in float64: the error may be twice the reference's own,
    and a few roundings more, of an output's largest value, of a gradient's mean. The last draw has
    many equal values, both zeros and large values, and is compared by its outputs alone; in
    inference a map of one pixel is tried besides. Parameters and statistics are made random, the
    same on both sides.

    Parameters
    ----------
    found, plain
        The implementation and the reference, new, on the device, in the case's dtype and mode.
    case
        In training gradients of the input and of all parameters are compared too, and what
        BatchNorm remembers.
    device
        Where both are.

    Raises
    ------
    WrongError
        At the first difference, with its size: in an output, a gradient, a statistic, a dtype or
        shape, or where it writes into its input or into what it gave out before.
    """
    _randomise(plain)
    shapes, wanted = (
        {name: tuple(value.shape) for name, value in layer.state_dict().items()}
        for layer in (found, plain)
    )
    if shapes != wanted:
        raise WrongError(f"its state is {_listed(shapes)}, the reference's {_listed(wanted)}")
    found.load_state_dict(plain.state_dict())
    # On the host first, here and below: Apple's devices have no float64.
    exact = copy.deepcopy(plain).cpu().double()
    given_out: list[tuple[Tensor, Tensor]] = []
    for name, drawn in _draws(case).items():
        x = _placed(drawn, case, device)
        where = f"on {name} in {case.dtype}"
        before = x.clone()
        ours = _results(found, x, case)
        if not torch.equal(x, before):
            raise WrongError(f"it writes into its input, {where}")
        reference = _results(plain, x, case)
        truth = _results(exact, x.cpu().double(), case)
        for what, exactly in truth.items():
            # Where lines meet, which of them has the gradient is a choice.
            if what == "output" or name != TIES:
                compare(what, ours.get(what), reference[what], exactly, where, x.numel())
        if any(not torch.equal(y, then) for y, then in given_out):
            raise WrongError(f"it writes into an output that it gave out before, {where}")
        y = ours["output"]
        assert y is not None
        given_out.append((y, y.clone()))


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "empty"


def _form(tensor: Tensor, form: str) -> object:
    # Strides of sides of one element say nothing.
    strides = [n for n, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]
    return {"dtype": tensor.dtype, "shape": tuple(tensor.shape), "stride": tuple(strides)}[form]


def verify_again(
    found: nn.Module, plain: nn.Module, case: Case, device: torch.device, look: int
) -> None:
    """Compare an implementation that was timed with the reference once more, on a new draw.

    Parameters
    ----------
    found, plain, case, device
        As of `verify`; the reference takes over the other's state.
    look
        Which look it is: each has a draw of its own.

    Raises
    ------
    WrongError
        If it does not do any more what the reference does.
    """
    plain.load_state_dict(found.state_dict())
    generator = torch.Generator().manual_seed(SEED + 2 + look)
    x = _placed(torch.randn(input_shape(case), generator=generator), case, device)
    exact = copy.deepcopy(plain)
    ours, reference = _results(found, x, case), _results(plain, x, case)

    def all_against(truth: dict[str, Tensor | None]) -> None:
        for what, exactly in truth.items():
            where = "after it was timed"
            compare(what, ours.get(what), reference[what], exactly, where, x.numel())

    try:
        # The reference in place of what float64 takes many times as long for.
        all_against(
            {
                what: None if value is None else value.cpu().double()
                for what, value in reference.items()
            }
        )
    except WrongError:
        exact.cpu().double()
        all_against(_results(exact, x.cpu().double(), case))


def _randomise(layer: nn.Module) -> None:
    """Make every parameter and statistic count."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, value in layer.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value.add_(0.2 * noise.to(value.device, value.dtype))
            if name.endswith("running_var"):
                value.abs_().add_(0.5)


def _placed(x: Tensor, case: Case, device: torch.device) -> Tensor:
    """Return an input as a case has it: on the device, in its dtype and memory format."""
    there = x.to(device, getattr(torch, case.dtype))
    return there.contiguous(memory_format=MEMORY_FORMATS[case.memory_format])


def _draws(case: Case) -> dict[str, Tensor]:
    """Return inputs to try, by what they are."""
    generator = torch.Generator().manual_seed(SEED)
    first, second, third = (torch.randn(input_shape(case), generator=generator) for _ in range(3))
    # Multiples of a half meet each other, and zero, exactly.
    special = (2 * third).round() / 2
    large = LARGE.get(case.dtype, 1e4)
    for place, value in enumerate((-0.0, 0.0, large, -large)):
        special.view(-1)[place :: max(special.numel() // 2, 4)] = value
    drawn = {
        "N(0, 1)": first,
        "N(1, 3)": 3 * second + 1,
        TIES: special,
    }
    if case.phase == "inference":
        drawn["one pixel"] = first[:, :, :1, :1]
    return drawn


def _results(layer: nn.Module, x: Tensor, case: Case) -> dict[str, Tensor | None]:
    """Return what one call of a layer gives, by what it is."""
    if case.phase == "inference":
        with torch.inference_mode():
            return {"output": layer(x)}
    x = x.detach().requires_grad_()
    y = layer(x)
    if not y.requires_grad:
        raise WrongError("its output has no gradient")
    generator = torch.Generator().manual_seed(SEED + 1)
    gradient = torch.randn(y.shape, generator=generator).to(y.device, y.dtype)
    named = {"the input": x, **dict(layer.named_parameters())}
    before = gradient.clone()
    gradients = torch.autograd.grad(y, list(named.values()), gradient, allow_unused=True)
    if not torch.equal(gradient, before):
        raise WrongError("it writes into the gradient that it starts back from")
    kept = layer.state_dict()
    return {
        "output": y.detach(),
        **{f"gradient of {name}": g for name, g in zip(named, gradients, strict=True)},
        **{n: b.clone() for n, b in layer.named_buffers() if n in kept and b.is_floating_point()},
    }


def compare(
    what: str,
    found: Tensor | None,
    plain: Tensor | None,
    truth: Tensor | None,
    where: str,
    elements: int,
) -> None:
    """Compare one of the results of a call.

    Parameters
    ----------
    what
        As ``"output"`` or ``"gradient of weight"``.
    found, plain, truth
        Of what is verified, of the reference, and exactly: on the CPU in float64. What is None is
        to be so on both sides.
    where
        For the message: under what circumstances.
    elements
        Of the input.

    Raises
    ------
    WrongError
        If what is found is further from the truth than roundings explain, see `verify`.
    """
    if found is None or plain is None or truth is None:
        if (found is None) != (plain is None):
            raise WrongError(f"{'no ' * (found is None)}{what}, unlike the reference, {where}")
        return
    for form in ("dtype", "shape", "stride") if what == "output" else ("dtype", "shape"):
        ours, theirs = (_form(of, form) for of in (found, plain))
        if ours != theirs:
            ours, theirs = (str(of).removeprefix("torch.") for of in (ours, theirs))
            raise WrongError(f"{what} is of {form} {ours}, the reference's {theirs}, {where}")
    errors = [(of.detach().cpu().double() - truth).abs() for of in (found, plain)]
    # An output is continuous in the input; a gradient jumps where two lines meet, so that single
    # elements may differ by rounding alone.
    scale = torch.mean if what.startswith("gradient") else torch.max
    error, of_reference = (scale(each).item() for each in errors)
    rounding = torch.finfo(found.dtype).eps * max(scale(truth.abs()).item(), 1.0)
    # A sum whose terms are added one after the other, in as many lanes as generated code has, is
    # off by more the longer it is, also where its terms cancel.
    wide = torch.float64 if found.dtype == torch.float64 else torch.float32
    rounding += torch.finfo(wide).eps * elements / max(found.numel(), 1) / LANES
    if not error <= TIMES_THE_ERROR * of_reference + ROUNDINGS * rounding:
        raise WrongError(
            f"{what} is off by up to {errors[0].max().item():.2g}, the reference by "
            f"{errors[1].max().item():.2g} of at most {truth.abs().max().item():.2g}, {where}"
        )
