"""What a network learns instead of a property itself, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Transform:
    """A monotonic function of the property.

    Attributes:
        forward: property -> what is learned.
        inverse: the way back.
        slope: derivative of ``inverse``; times a standard deviation of what is learned it is one of the property.
        domain: properties strictly between these can be transformed.
    """

    forward: Callable[[Reals], Reals]
    inverse: Callable[[Reals], Reals]
    slope: Callable[[Reals], Reals]
    domain: tuple[float, float] = (-np.inf, np.inf)


TRANSFORMS: Mapping[str, Transform] = {
    "identity": Transform(lambda y: y, lambda t: t, np.ones_like),
    "log10": Transform(np.log10, lambda t: 10.0**t, lambda t: np.log(10.0) * 10.0**t, (0.0, np.inf)),
    "log1p": Transform(np.log1p, np.expm1, np.exp, (-1.0, np.inf)),
}


def transform(name: str) -> Transform:
    """A transform by its name.

    Raises:
        ConfigError: there is no such transform.
    """
    if name not in TRANSFORMS:
        raise ConfigError(f"there is no transform '{name}'; known are {', '.join(TRANSFORMS)}")
    return TRANSFORMS[name]
