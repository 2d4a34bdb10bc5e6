"""Finding a user's own function by its name: ``module:function`` or ``path/to/file.py:function``."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from matinvent.errors import ConfigError

_loading = threading.RLock()


def load_callable(name: str, setting: str) -> Callable[..., Any]:
    """Import ``module:function``, or run a file and take a function of it.

    Args:
        name: importable module and a callable in it, e.g. ``my_package.my_module:make``, or a Python file and a
            callable in it, e.g. ``mine.py:make``; relative to the working directory.
        setting: what the name was given for; opens the error message.

    Raises:
        ConfigError: the name has another form, or there is no such callable.
    """
    module, _, attribute = name.rpartition(":")
    if not module or not attribute:
        raise ConfigError(f"{setting}: '{name}' is not of the form 'module:function' or 'file.py:function'")
    try:
        found = getattr(_load_module(module), attribute)
    except FileNotFoundError:
        raise ConfigError(f"{setting}: there is no file {module} (looked for in {Path.cwd()})") from None
    except AttributeError:
        raise ConfigError(f"{setting}: cannot import '{name}': there is no '{attribute}' in {module}") from None
    except ImportError as error:
        raise ConfigError(f"{setting}: cannot import '{name}': {error} (is the module on PYTHONPATH?)") from None
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        raise ConfigError(f"{setting}: importing '{name}' raises {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError(f"{setting}: '{name}' is a {type(found).__name__}, not a function")
    loaded: Callable[..., Any] = found
    return loaded


def source_file(name: str) -> Path | None:
    """The file of the module in a name that :func:`load_callable` has loaded; None for built-in modules."""
    file = getattr(_load_module(name.rpartition(":")[0]), "__file__", None)
    return None if file is None else Path(file)


class _SourceLoader(SourceFileLoader):
    """Neither writes bytecode beside a user's file nor believes what is there: two edits may share a second."""

    def path_stats(self, path: Any) -> NoReturn:
        """Keep the loader from looking for bytecode."""
        raise OSError(path)


def _load_module(name: str) -> ModuleType:
    return _load_file(Path(name)) if name.endswith(".py") else import_module(name)


def _load_file(path: Path) -> ModuleType:
    """Run a file as a module, once per process; what it defines can be pickled within the process."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(path)
    # Two files of one name are two modules, and neither hides an installed one.
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    with _loading:
        if name in sys.modules:
            return sys.modules[name]
        loader = _SourceLoader(name, str(path))
        spec = spec_from_loader(name, loader)
        assert spec is not None, "a loader was given"
        module = sys.modules[name] = module_from_spec(spec)
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module
