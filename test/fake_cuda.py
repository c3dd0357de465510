"""A CUDA device without a GPU: fake tensors of full size, and what they would cost.

PyTorch's ``FakeTensorMode`` runs a network on tensors that have a shape, a type and a
device but no values, and raises an error where an operation mixes devices.
:class:`Meter` counts what a GPU would have to do. Values that follow from shapes, such
as lengths, are computed for real, so that code that depends on them runs.
"""

import contextlib
import traceback
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

from espnet2_sv.backbones.frozen import FrozenModuleRef

aten = torch.ops.aten
# Operations whose result's size depends on values, so that the CPU has to wait
_DATA_DEPENDENT = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.repeat_interleave.Tensor,
}
_ALLOCATIONS = {
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
}
_VIEWS = {aten._unsafe_view.default}  # whose schema does not say so
# Operations without tensor arguments whose values are known, or random
_SOURCES = ("arange", "rand", "randint", "full", "ones", "zeros")
_MOST_VALUES = 2**21  # of a tensor whose values are computed for real
_PARTS = ("/espnet2/", "/espnet2_sv/")  # of the paths of calling code to tell


class Counts(NamedTuple):
    """What a GPU had to do.

    Attributes:
        kernels: Operations on CUDA tensors that are neither views nor allocations.
        syncs: Times that the CPU waits: values that it reads from the GPU, copies in
            either direction unless they are asynchronous, and results whose size
            depends on values.
        copied: Bytes copied to the GPU.
        peak: Most bytes of CUDA tensors at a time.
    """

    kernels: int
    syncs: int
    copied: int
    peak: int


class Meter(TorchDispatchMode):
    """Counts what operations on fake CUDA tensors would ask of a GPU.

    Attributes:
        operations: Number of kernels by operation.
        waits: Number of synchronisations by kind, shape and calling code.
    """

    def __init__(self):
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self._copied = self._allocated = self._peak = 0
        self._values: dict[int, torch.Tensor] = {}
        self._storages: set[int] = set()
        # a fake tensor's own method reads one element at a time
        self._tolist = mock.patch.object(
            FakeTensor, "tolist", lambda tensor: self._list(tensor)
        )

    def __enter__(self):
        self._tolist.start()
        return super().__enter__()

    def __exit__(self, *error):
        self._tolist.stop()
        return super().__exit__(*error)

    @property
    def counts(self) -> Counts:
        kernels, syncs = self.operations.total(), self.waits.total()
        return Counts(kernels, syncs, self._copied, self._peak)

    def reset(self) -> None:
        """Start to count anew; the tensors that exist are still in memory."""
        self._copied, self._peak = 0, self._allocated
        self.operations.clear()
        self.waits.clear()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default:
            return self._read(args[0])
        tensors = _fake(args, kwargs)
        resized = func in _DATA_DEPENDENT or _index_is_mask(func, args)
        self._note_wait(func, args, kwargs, resized)
        value = self._compute(func, args, kwargs, tensors)
        result = self._resized(func, args, value) if resized else func(*args, **kwargs)
        outputs = _fake(result)
        if value is not None:
            for output, known in zip(outputs, tree_leaves(value), strict=True):
                self._know(output, known)
        for output in outputs:
            self._allocate(output)
        if _is_kernel(func, tensors, outputs):
            self.operations[str(func)] += 1
        return result

    def _know(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        if id(tensor) not in self._values:
            weakref.finalize(tensor, self._values.pop, id(tensor), None)
        self._values[id(tensor)] = value

    def _value(self, tensor: torch.Tensor) -> torch.Tensor | None:
        return self._values.get(id(tensor), getattr(tensor, "constant", None))

    def _list(self, tensor: torch.Tensor) -> list:
        value = self._value(tensor.cpu())
        assert value is not None, f"reads the values of {tensor}, which has none"
        with _disable_current_modes():
            return value.tolist()

    def _read(self, tensor: torch.Tensor) -> int | float | bool:
        value = self._value(tensor)
        assert value is not None, f"reads the value of {tensor}, which has none"
        if tensor.device.type == "cuda":
            self._wait("reads", tensor)
        with _disable_current_modes():
            return value.item()

    def _note_wait(self, func, args, kwargs, resized: bool) -> None:
        if resized and args[0].device.type == "cuda":
            self._wait(str(func), args[0])
        elif func is aten._to_copy.default:
            target = torch.device(kwargs.get("device") or args[0].device)
            self._note_copy(args[0], target, kwargs.get("non_blocking"))
        elif func is aten.copy_.default:
            self._note_copy(args[1], args[0].device, len(args) > 2 and args[2])
        elif func in (aten.index.Tensor, aten.index_put_.default):
            for index in args[1]:
                if index is not None:
                    self._note_copy(index, args[0].device, False)

    def _note_copy(self, source, target: torch.device, asynchronous) -> None:
        if source.device.type == target.type:
            return
        if target.type == "cuda":
            self._copied += source.numel() * source.element_size()
        if not asynchronous:
            self._wait(f"copies to {target.type}", source)

    def _wait(self, what: str, tensor: torch.Tensor) -> None:
        frames = [
            f"{frame.filename.rpartition('/espnet2')[2]}:{frame.lineno}"
            for frame in traceback.extract_stack()
            if any(part in frame.filename for part in _PARTS)
        ]
        self.waits[f"{what} {tuple(tensor.shape)} at {' < '.join(frames[:-3:-1])}"] += 1

    def _compute(self, func, args, kwargs, tensors):
        """Compute a result for real, if all that it follows from is known and small."""
        if func is aten.uniform_.default and args[0].numel() <= _MOST_VALUES:
            with _disable_current_modes():
                return torch.rand(args[0].shape)
        known = {id(tensor): self._value(tensor) for tensor in tensors}
        if func.namespace != "aten" or any(value is None for value in known.values()):
            return None
        if not tensors and not _makes_values(func, args):
            return None
        args, kwargs = tree_map_only(FakeTensor, lambda x: known[id(x)], (args, kwargs))
        kwargs = {k: v for k, v in kwargs.items() if k not in ("device", "pin_memory")}
        with _disable_current_modes():
            value = func(*args, **kwargs)
        sizes = [x.numel() for x in tree_leaves(value) if isinstance(x, torch.Tensor)]
        return value if max(sizes, default=0) <= _MOST_VALUES else None

    def _resized(self, func, args, value):
        source = args[0]
        if value is not None:
            return torch.empty(value.shape, dtype=value.dtype, device=source.device)
        assert _index_is_mask(func, args), f"{func} of unknown values"
        mask = self._value(args[1][0])
        shape = int(mask.sum()), *source.shape[mask.dim() :]
        return torch.empty(shape, dtype=source.dtype, device=source.device)

    def _allocate(self, tensor: torch.Tensor) -> None:
        if tensor.device.type != "cuda":
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages:
            self._storages.add(key)
            self._allocated += size
            self._peak = max(self._peak, self._allocated)
            weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self._allocated -= size


def _fake(*arguments) -> list[FakeTensor]:
    return [x for x in tree_leaves(arguments) if isinstance(x, FakeTensor)]


def _makes_values(func, args) -> bool:
    name = func.name().partition("::")[2].partition(".")[0]
    small = not args or not isinstance(args[0], list | tuple | torch.Size)
    return name in _SOURCES and (small or torch.Size(args[0]).numel() <= _MOST_VALUES)


def _index_is_mask(func, args) -> bool:
    return func is aten.index.Tensor and any(
        index is not None and index.dtype == torch.bool for index in args[1]
    )


def _is_kernel(func, tensors, outputs) -> bool:
    if func.namespace != "aten" or func in _ALLOCATIONS | _VIEWS:
        return False
    if not any(x.device.type == "cuda" for x in [*tensors, *outputs]):
        return False
    aliases = [r.alias_info for r in func._schema.returns]
    return not aliases or any(a is None or a.is_write for a in aliases)


@contextlib.contextmanager
def fake_driver() -> Iterator[None]:
    """Let PyTorch take it that there is a driver with bfloat16."""
    common = "torch.cuda.amp.common.amp_definitely_not_available"
    with (
        mock.patch(common, lambda: False),
        mock.patch(
            "torch.cuda.is_bf16_supported", lambda including_emulation=True: True
        ),
    ):
        yield


@contextlib.contextmanager
def fake_tensors() -> Iterator[None]:
    """Make all tensors fake while the context is open."""
    with FakeTensorMode():
        yield


def to_cuda[M: torch.nn.Module](module: M) -> M:
    """Do what ``module.to("cuda")`` does, which cannot swap fake parameters.

    Frozen networks, which are no submodules, are moved with it.
    """
    moved: dict[int, torch.Tensor] = {}

    def move(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in moved:
            copy = tensor.detach().to("cuda")
            if isinstance(tensor, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, tensor.requires_grad)
            moved[id(tensor)] = copy
        return moved[id(tensor)]

    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = move(tensor)
        if isinstance(getattr(part, "pe", None), torch.Tensor):
            part.pe = part.pe.to("cuda")  # positions, which ESPnet moves at first use
        if isinstance(part, FrozenModuleRef):
            to_cuda(part.frozen_module)
    return module


def backward(loss: torch.Tensor) -> None:
    """Do what ``loss.backward()`` does, whose engine asks the driver for devices."""
    root = loss.grad_fn
    assert root is not None
    waiting: Counter[object] = Counter()  # gradients that a node has yet to receive
    stack, seen = [root], {root}
    while stack:
        for child, _ in stack.pop().next_functions:
            if child is not None:
                waiting[child] += 1
                if child not in seen:
                    seen.add(child)
                    stack.append(child)
    gradients = {root: {0: torch.ones_like(loss)}}
    ready = [root]
    # Checkpoints recompute once per pass of the engine, which they know by its number
    number = mock.patch.object(torch._C, "_current_graph_task_id", lambda: id(root))
    with torch.no_grad(), number:
        while ready:
            node = ready.pop()
            results = _run(node, gradients.pop(node, {}))
            for i, (child, position) in enumerate(node.next_functions):
                if child is None:
                    continue
                if i < len(results) and results[i] is not None:
                    gradient = _fitted(results[i], child._input_metadata[position])
                    sums = gradients.setdefault(child, {})
                    known = sums.get(position)
                    sums[position] = gradient if known is None else known + gradient
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
            del results


def _run(node, received: dict[int, torch.Tensor]) -> tuple:
    """Compute the gradients of a node's inputs, given those of its outputs."""
    if not received:
        return ()
    if hasattr(node, "variable"):  # a leaf
        assert node.variable.grad is None, "one step at a time"
        node.variable.grad = received[0]
        return ()
    # nodes of a Python autograd.Function cannot be called themselves
    function = node if callable(node) else node.apply
    results = function(*(received.get(i) for i in range(len(node._input_metadata))))
    return results if isinstance(results, tuple) else (results,)


def _fitted(gradient: torch.Tensor, expected) -> torch.Tensor:
    """Sum over what was broadcast and convert the type, as the engine does."""
    if gradient.shape != expected.shape:
        gradient = gradient.sum_to_size(expected.shape)
    return gradient.to(expected.dtype)
