"""A layer by its name: of the registry, or of a class of the user's."""

import pytest
from torch import nn

from dynact.activations.by_name import build


def own(layer_class: type) -> str:
    return f"{__name__}:{layer_class.__name__}"


class ByName(nn.Module):
    def __init__(self, slope: float = 0.1, *, channels: int = 0) -> None:
        super().__init__()
        self.got = (slope, channels)


class ByFirst(nn.Module):
    def __init__(self, num_features: int, slope: float = 0.1) -> None:
        super().__init__()
        self.got = (num_features, slope)


class ByNothing(nn.Module):
    def __init__(self, slope: float = 0.1, bias: bool = True) -> None:
        super().__init__()
        self.got = (slope, bias)


class ByAnything(nn.Module):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()
        self.got = (args, kwargs)


class NotALayer:
    pass


@pytest.mark.parametrize(
    ("layer_class", "got"),
    [
        (ByName, (0.1, 7)),
        (ByFirst, (7, 0.1)),
        (ByNothing, (0.1, True)),
        (ByAnything, ((), {})),
    ],
)
def test_channels_go_where_a_users_class_takes_them(
    layer_class: type, got: tuple[object, ...]
) -> None:
    layer = build(own(layer_class), 7)

    assert isinstance(layer, layer_class)
    assert layer.got == got


def test_torchs_own_layers_can_be_named() -> None:
    norm = build("torch.nn:BatchNorm2d", 7)

    assert isinstance(build("torch.nn:Hardtanh", 7), nn.Hardtanh)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.num_features == 7


def test_a_name_without_a_module_is_of_the_registry() -> None:
    layer = build("frelu", 7)

    assert layer.conv.weight.shape == (7, 1, 3, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("frelou", "^unknown activation 'frelou'; did you mean frelu"),
        (own(NotALayer), "makes a NotALayer, not a torch.nn.Module$"),
        ("no_such_module:Layer", "no_such_module:Layer: there is no module 'no_such_module' in"),
        ("torch.nn:Hardtan", "there is no 'Hardtan' in torch.nn; did you mean Hardtanh"),
    ],
)
def test_what_is_no_layer_is_refused(name: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        build(name, 7)
