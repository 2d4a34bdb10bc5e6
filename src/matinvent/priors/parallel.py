"""Data-parallel training on one machine: one process per CPU core, gradients averaged after every batch.

The products of a small network are too small to be shared by threads; processes with a batch of their own
use all cores (benchmarks/pretraining.py).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed
from torch.multiprocessing import get_context

from matinvent.errors import MatInventError


@contextmanager
def worker_group(size: int, work: Callable[[], None]) -> Iterator[None]:
    """Let ``size - 1`` child processes run ``work`` while the body, worker 0, runs the same here.

    Children are forked, so that they share the training data; the body must not have used autograd before.

    Raises:
        MatInventError: a child died; the body then fails at its next average.
    """
    if size == 1:
        yield
        return
    context = get_context("fork")
    with tempfile.TemporaryDirectory(prefix="matinvent-") as folder:
        meeting = Path(folder) / "meeting"
        children = [context.Process(target=_child, args=(meeting, rank, size, work)) for rank in range(1, size)]
        for child in children:
            child.start()
        try:
            _join(meeting, 0, size)
            yield
        except RuntimeError as error:
            dead = [child.exitcode for child in children if child.exitcode]
            if not dead:
                raise
            raise MatInventError(
                f"a training process died (exit code {dead[0]}); continue with --resume, or set workers: 1"
            ) from error
        finally:
            for child in children:
                child.terminate()
                child.join()
            if distributed.is_initialized():
                distributed.destroy_process_group()


def _join(meeting: Path, rank: int, size: int) -> None:
    distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=size)


def _child(meeting: Path, rank: int, size: int, work: Callable[[], None]) -> None:
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (for the life of the process)
    _join(meeting, rank, size)
    work()


def rank() -> int:
    """Number of this worker; 0 without a group."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """Number of workers; 1 without a group."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def average_gradients(parameters: Iterable[torch.nn.Parameter], clock: float) -> float:
    """Replace gradients by their mean over all workers; returns worker 0's clock, so that all stop together."""
    if size() == 1:
        return clock
    chosen = [p for p in parameters if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in chosen]
    # float64 for the clock would be lost in the float32 sum; milliseconds suffice.
    flat = torch.cat([*(g.flatten() for g in gradients), torch.tensor([clock if rank() == 0 else 0.0])])
    distributed.all_reduce(flat)
    parts = torch.split(flat[:-1].div_(size()), [g.numel() for g in gradients])
    for parameter, part in zip(chosen, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return float(flat[-1])
