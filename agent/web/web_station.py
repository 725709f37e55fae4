"""The server of the ward, and what it shares with the loop of the monitor."""

from agent.core.config import Config
from agent.monitor.result_sinks import Viewer
from agent.monitor.ward_source import WardSource
from agent.web.hand_over import HandOver
from agent.web.ward_watch import WardWatch
from agent.web.web_address import read_access
from agent.web.web_server import WebServer


class WebStation:
    """The server, and what it shares with the loop of the monitor."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError for settings that make no sense, EndpointError if the address cannot be had."""
        self._config = config.web
        self._hand_over = HandOver()
        self._server = WebServer(read_access(config), self._hand_over, config.web)

    @property
    def address(self) -> str:
        """Return the address for a browser."""
        return self._server.address

    def watch(self, viewer: Viewer, session: WardSource) -> Viewer:
        """Return a viewer that serves browsers besides showing what `viewer` shows."""
        return WardWatch(viewer, session, self._hand_over, self._config)

    def close(self) -> None:
        """Serve no more; closed again, do nothing."""
        self._server.close()
