"""The seam every crystal generator fits: sample, encode, noise, predict, loss, divergence.

The learner and the campaign know only this protocol. Shapes: B crystals in a batch; noise level
t in (0, 1], shape (B,), its own for each crystal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from pymatgen.core import Structure

    from matinvent.errors import Failure


class Generator(Protocol):
    """A generative model of crystals whose weights can be fine-tuned.

    ``Encoded``, ``Batch``, ``Noisy`` and ``Prediction`` are the generator's own types and opaque
    to its users; only their flow through the methods below is fixed.
    """

    name: str

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        ...

    def sample(
        self,
        n: int,
        rng: torch.Generator,
        progress: Callable[[float], None] | None = None,
    ) -> list[Structure | Failure]:
        """Draw n crystals; one that cannot be built is a Failure in its place.

        ``progress`` is called with the finished share in (0, 1].
        """
        ...

    def encode(self, structures: Sequence[Structure]) -> list[Any | Failure]:
        """Turn any pymatgen structures into training items; what does not fit is a Failure."""
        ...

    def size(self, item: Any) -> int:
        """Atoms of an encoded crystal; the learner batches crystals of similar size."""
        ...

    def collate(self, items: Sequence[Any]) -> Any:
        """Put encoded items into one batch on the generator's device."""
        ...

    def draw_noise(self, batch: Any, t: torch.Tensor, rng: torch.Generator) -> Any:
        """Noise each crystal of a batch to its own level t, shape (B,), in (0, 1]."""
        ...

    def predict(self, noisy: Any) -> Any:
        """One pass of the network over a noisy batch."""
        ...

    def loss(self, noisy: Any, prediction: Any) -> torch.Tensor:
        """Denoising loss of each crystal, shape (B,)."""
        ...

    def divergence(self, noisy: Any, prediction: Any, reference: Any, kind: str) -> torch.Tensor:
        """Distance of two predictions on one noisy batch, shape (B,); >= 0 and 0 iff equal.

        ``kind`` is ``paper`` (plain squared error of the outputs) or ``kl`` (per-field
        Kullback-Leibler divergence of the denoising distributions).
        """
        ...

    def clone(self) -> Generator:
        """An independent copy with equal weights (the frozen prior is one)."""
        ...

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Trainable weights."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Switch the network between training and evaluation mode."""
        ...

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Weights by name."""
        ...

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> Any:
        """Restore weights written by :meth:`state_dict`."""
        ...
