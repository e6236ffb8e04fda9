"""What is used of fvcore.nn, which warns on import of torch.jit.script."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis, parameter_count
    from fvcore.nn.jit_analysis import _IGNORED_OPS as IGNORED_OPS
    from fvcore.nn.jit_handles import get_shape

__all__ = ["IGNORED_OPS", "FlopCountAnalysis", "get_shape", "parameter_count"]
