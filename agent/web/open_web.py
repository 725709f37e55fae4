"""The option --web, opened: its packages are an extra of the installation."""

from typing import TYPE_CHECKING

from agent.core.config import Config
from model.extras import import_extra

if TYPE_CHECKING:
    from agent.web.web_station import WebStation


def open_web_station(config: Config) -> "WebStation":
    """Serve the ward at `config.web.address`, until closed.

    Raises ConfigError for a package that is not there or settings that make no sense, and EndpointError if the address
    cannot be had.
    """
    for package in ("starlette", "uvicorn", "websockets"):
        import_extra(package, "web")
    from agent.web.web_station import WebStation

    return WebStation(config)
