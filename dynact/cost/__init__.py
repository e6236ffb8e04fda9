"""What a layer costs without a clock: parameters, arithmetic, memory traffic, memory."""

from dynact.cost._tensors import not_a_leaf, tensors_in
from dynact.cost.flops import Arithmetic, count_flops, fvcore_default_flops
from dynact.cost.hidden import HiddenWork, is_all_shown
from dynact.cost.memory import MemoryTracker, Saved, peak_on_cpu, saved_for_backward
from dynact.cost.parameters import Parameters, count_parameters
from dynact.cost.traffic import TrafficCounter, floor_bytes

__all__ = [
    "Arithmetic",
    "HiddenWork",
    "MemoryTracker",
    "Parameters",
    "Saved",
    "TrafficCounter",
    "count_flops",
    "count_parameters",
    "floor_bytes",
    "fvcore_default_flops",
    "is_all_shown",
    "not_a_leaf",
    "peak_on_cpu",
    "saved_for_backward",
    "tensors_in",
]
