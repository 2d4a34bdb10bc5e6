"""``--set`` for commands that use one section of a campaign's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matinvent.errors import ConfigError

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig


def section_settings(section: str, overrides: Sequence[str], *, what: str, example: str) -> CampaignConfig:
    """The settings of campaigns after changes to one section, which the caller takes out.

    Args:
        section: name of the section, e.g. ``generator``.
        overrides: changes, ``section.key=value``.
        what: the section for people, e.g. ``sampling``.
        example: a change that works, without the name of the section.

    Raises:
        ConfigError: a change is to another section, or does not fit.
    """
    from matinvent.tasks import load_task

    for override in overrides:
        if not override.strip().startswith(f"{section}."):
            raise ConfigError(f"--set {override}: only {what} settings apply here, e.g. {section}.{example}")
    # No section but the objectives depends on the goal; any task serves to read the others.
    return load_task("density", overrides=overrides)
