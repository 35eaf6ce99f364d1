"""A device that no machine has: its tensors are computed on the CPU, and never mix with others.

So code that forgets to move a tensor fails on a machine without a GPU, as it would on one with it.
The device calls itself ``meta``, the one name that torch takes without hardware behind it.
"""

from collections.abc import Callable, Iterator, ValuesView
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FAR = "meta"
# what may mix on a GPU too: copies, and indices from the CPU
MAY_MIX = (
    "aten::copy_",
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
)


class FarTensor(Tensor):
    """A tensor there; ``near`` is what it holds."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "FarTensor":
        far = Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            layout=near.layout,
            device=FAR,
        )
        far.near = near
        return far

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class FarDevice(TorchDispatchMode):
    """While it is open, tensors can be made and moved there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run one operation of torch, where its tensors are.

    Raises:
        RuntimeError: they are on two devices, numbers aside.
    """
    name, tensors = func._schema.name, list(tensors_in((args, kwargs.values())))
    far = [tensor for tensor in tensors if isinstance(tensor, FarTensor)]
    strays = [tensor for tensor in tensors if not isinstance(tensor, FarTensor) and tensor.dim()]
    if far and strays and name not in MAY_MIX:
        raise RuntimeError(f"{name} mixes devices: {[tuple(each.shape) for each in strays]}")
    is_far = isinstance(args[0], FarTensor) if name in MAY_MIX else bool(far)
    if kwargs.get("device") is not None:
        is_far = torch.device(kwargs["device"]).type == FAR
        kwargs = {**kwargs, "device": "cpu"}
    near = {key: mapped(bring_near, value) for key, value in kwargs.items()}
    result = func(*mapped(bring_near, args), **near)
    if result is None or name == "aten::_local_scalar_dense":
        return result
    if name.endswith("_") and tensors:  # in place
        return args[0]
    return mapped(FarTensor, result) if is_far else result


def bring_near(value: Tensor) -> Tensor:
    return value.near if isinstance(value, FarTensor) else value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors among arguments, which may stand in lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, ValuesView)):
        for each in value:
            yield from tensors_in(each)


def mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same with every tensor changed; torch's own walk takes longer than the arithmetic."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(change, each) for each in value])
    return value


@contextmanager
def far_device() -> Iterator[str]:
    """Open the device; its name. Arithmetic is float32 there, by the plain optimiser, and without
    inference mode, under which torch leaves out the steps that are watched."""
    adam = torch.optim.Adam

    def plain_adam(parameters: Any, lr: float, betas: Any, fused: bool) -> torch.optim.Adam:
        return adam(parameters, lr=lr, betas=betas, foreach=False)

    with pytest.MonkeyPatch.context() as patch, FarDevice():
        patch.setattr(torch.optim, "Adam", plain_adam)
        patch.setattr(torch, "autocast", lambda *kind, **enabled: nullcontext())
        patch.setattr(torch, "inference_mode", lambda mode=True: torch.set_grad_enabled(not mode))
        yield FAR
