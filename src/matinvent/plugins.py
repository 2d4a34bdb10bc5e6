"""Finding a user's own function by its name ``module:function``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from matinvent.errors import ConfigError


def load_callable(name: str, setting: str) -> Callable[..., Any]:
    """Import ``module:function``.

    Args:
        name: importable module and a callable in it, e.g. ``my_package.my_module:make``.
        setting: what the name was given for; opens the error message.

    Raises:
        ConfigError: the name has another form, or there is no such callable.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigError(f"{setting}: '{name}' is not of the form 'module:function'")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{setting}: cannot import '{name}': {error} (is the module on PYTHONPATH?)") from None
    except Exception as error:  # a module may raise anything while it is imported
        raise ConfigError(f"{setting}: importing '{name}' raises {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError(f"{setting}: '{name}' is a {type(found).__name__}, not a function")
    loaded: Callable[..., Any] = found
    return loaded
