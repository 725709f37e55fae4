"""A serial port as bytes: Arduinos, ESP32s, and boards with USB. Needs pyserial (the extra `serial`)."""

import errno
import os
import select
from typing import Any

from agent.bridge.sensor_source import LostSourceError
from model.errors import SourceError, clean_error_text
from model.extras import import_extra

READ_BYTES = 65_536
OPEN_ERRORS = {
    errno.ENOENT: "there is no such port",
    errno.ENXIO: "there is no such port",
    errno.ENODEV: "there is no such port",
    errno.EACCES: "this user may not open it: add yourself to the group dialout (sudo usermod -aG dialout $USER), "
    "and log in again",
    errno.EPERM: "this user may not open it",
    errno.EBUSY: "another program has it open: close that one, such as the serial monitor of the Arduino IDE",
    errno.EAGAIN: "another program has it open: close that one, such as the serial monitor of the Arduino IDE",
    errno.ENOTTY: "it is no serial port",
    errno.EISDIR: "it is no serial port",
}


class SerialPort:
    """One serial port. `path` "": the only one that is there. `greeting`: what the device is sent when it is opened.

    Opening resets most Arduinos: what they print then is skipped like any text.
    """

    is_over = False

    def __init__(self, path: str, baud: int, greeting: bytes = b"") -> None:
        """Raises ConfigError where pyserial is missing."""
        self._serial = import_extra("serial", "serial")
        self.name = f"serial:{path}" if path else "serial"
        self._path, self._baud, self._greeting = path, baud, greeting
        self._port: Any = None

    def open(self) -> None:
        """Open it for this program alone. Raises SourceError, with the ports that are there."""
        path = self._path or self._only_port()
        self.name = f"serial:{path}"
        try:
            self._port = self._serial.Serial(path, self._baud, timeout=0, write_timeout=1, exclusive=True)
            if self._greeting:
                self._port.write(self._greeting)
        except ValueError as error:
            raise SourceError(f"{self.name}: {clean_error_text(error)}: choose another --baud") from error
        except OSError as error:  # pyserial's own error is one
            self.close()
            raise SourceError(f"{self.name} cannot be opened: {_open_reason(error)}; {self._list_ports()}") from error

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived. Raises LostSourceError where the cable is out."""
        try:
            descriptor = self._port.fileno()
            if not select.select([descriptor], [], [], timeout_s)[0]:
                return b""
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return b""
        except (OSError, ValueError) as error:
            raise LostSourceError(f"{self.name} is gone ({clean_error_text(error)})") from error
        if not data:
            raise LostSourceError(f"{self.name} is gone: its cable is out, or the device is off")
        return data

    def close(self) -> None:
        """Close it."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def remark(self) -> str:
        """Return "": there is nothing to say."""
        return ""

    def _only_port(self) -> str:
        ports = self._find_ports()
        if len(ports) != 1:
            raise SourceError(f"which serial port? {self._list_ports()}")
        return ports[0]

    def _find_ports(self) -> list[str]:
        """Return the ports with a device; those of the main board, which are there without one, are left out."""
        comports = import_extra("serial.tools.list_ports", "serial").comports
        return sorted(port.device for port in comports() if port.hwid != "n/a")

    def _list_ports(self) -> str:
        ports = self._find_ports()
        if not ports:
            return "no serial port with a device is there: is it plugged in?"
        return f"there {'is' if len(ports) == 1 else 'are'} {', '.join(f'serial:{port}' for port in ports)}"


def _open_reason(error: OSError) -> str:
    cause = error.__cause__ or error.__context__
    number = error.errno or (cause.args[0] if cause is not None and cause.args else None)
    text = clean_error_text(error)
    if number is None and "lock" in text:
        number = errno.EAGAIN
    return OPEN_ERRORS.get(number or 0, text)
