"""The Bluetooth connection to a strap: an event loop in a thread of its own behind plain calls."""

import asyncio
import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from model.errors import ConfigError, SourceError, clean_error_text
from model.extras import import_extra
from model.text import make_printable

PMD_SERVICE = "fb005c80-02e7-f387-1cad-8acd2d8df0c8"
"""Polar Measurement Data: the service that sends ECG."""
MAKER = "Polar"
SCAN_S = 6.0
RIVALS_S = 1.0
"""How long other straps are looked for once one was found."""
CONNECT_S = 15.0
CLOSE_S = 5.0
BATTERY_EVERY_S = 300.0
ALREADY_STREAMS = 6
"""Polar's error number of a strap that was left while it sent."""
NO_BLUETOOTH = (
    "no Bluetooth here: is there an adapter, switched on (bluetoothctl power on), and bluetoothd running? "
    "In a container the D-Bus socket of the host is needed"
)
WORN_BY_ANOTHER = (
    "wear it with wet electrodes, and close every app and watch that is connected to it: a strap that somebody else "
    "has is not seen, or refuses"
)
Result = TypeVar("Result")


class StrapPacket(NamedTuple):
    """Consecutive samples in microvolts; `stamp_s`: the strap's own time of the last one."""

    stamp_s: float
    microvolts: list[int]


class StrapLink:
    """One connection. `name`, `address` and `battery` (percent) of the strap; `packets` that have come.

    `lost`: the connection has ended.
    """

    def __init__(self, wanted: str, adapter: str) -> None:
        """`wanted`: address or name, "" for any Polar strap; `adapter`: such as hci1, "" for the first one.

        Raises ConfigError where the extra is missing.
        """
        self._bleak = import_extra("bleak", "polar")
        self._bleakheart = import_extra("bleakheart", "polar")
        self._wanted, self._adapter = wanted.casefold(), {"bluez": {"adapter": adapter}} if adapter else {}
        self.name = self.address = ""
        self.battery: int | None = None
        self.packets: queue.SimpleQueue[StrapPacket] = queue.SimpleQueue()
        self.lost = threading.Event()
        self._client: Any = None
        self._pmd: Any = None
        self._battery_task: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bluetooth", daemon=True)
        self._thread.start()

    def connect(self) -> None:
        """Find the strap, connect, and have it send. Raises SourceError with what to do where that fails."""
        try:
            self._run(self._connect(), SCAN_S + 2 * CONNECT_S)
        except SourceError:
            raise
        except self._bleak.exc.BleakBluetoothNotAvailableError as error:
            raise SourceError(NO_BLUETOOTH) from error
        except (TimeoutError, concurrent.futures.TimeoutError) as error:
            raise SourceError(f"{self.name or 'the strap'} does not answer: {WORN_BY_ANOTHER}") from error
        except self._bleak.BleakError as error:
            text = clean_error_text(error)
            if "org.bluez" in text and ("ServiceUnknown" in text or "NameHasNoOwner" in text):
                raise SourceError(NO_BLUETOOTH) from error
            raise SourceError(f"{self.name or 'the strap'} refuses ({text}): {WORN_BY_ANOTHER}") from error
        except (OSError, EOFError) as error:  # no D-Bus
            raise SourceError(NO_BLUETOOTH) from error

    def close(self) -> None:
        """Have it stop, disconnect, and end the thread."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(Exception):  # whatever fails here, the connection is given up
            self._run(self._disconnect(), CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                self._loop.run_until_complete(task)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Result], timeout_s: float) -> Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise

    async def _connect(self) -> None:
        device = await self._find()
        self.name, self.address = make_printable(device.name or device.address), device.address
        self._client = self._bleak.BleakClient(
            device, disconnected_callback=lambda _client: self.lost.set(), timeout=CONNECT_S, **self._adapter
        )
        await self._client.connect()
        self._pmd = self._bleakheart.PolarMeasurementData(self._client, callback=self._take)
        self._pmd._time_offset = 0  # else stamps would be of our clock at the first packet, and jump at each connection
        if "ECG" not in await self._pmd.available_measurements():
            raise SourceError(
                f"{self.name} has no ECG to send: of Polar's sensors the H10 has (firmware 2.1.9 has none)"
            )
        code, text, _ = await self._pmd.start_streaming("ECG")
        if code == ALREADY_STREAMS:
            await self._pmd.stop_streaming("ECG")
            code, text, _ = await self._pmd.start_streaming("ECG")
        if code:
            raise SourceError(f"{self.name} does not start its ECG ({str(text).lower()}): {WORN_BY_ANOTHER}")
        self._battery_task = asyncio.create_task(self._watch_battery())

    async def _find(self) -> Any:
        """Return the device that is meant. Raises SourceError where none is seen, or several are."""
        seen: dict[str, Any] = {}
        found = asyncio.Event()

        def note(device: Any, advertisement: Any) -> None:
            if self._fits(device, advertisement):
                seen[device.address] = device
                found.set()

        async with self._bleak.BleakScanner(note, **self._adapter):
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(found.wait(), SCAN_S)
            if seen and not self._wanted:
                await asyncio.sleep(RIVALS_S)
        if not seen:
            wanted = f"strap {self._wanted!r}" if self._wanted else "Polar strap"
            raise SourceError(f"no {wanted} is seen: {WORN_BY_ANOTHER}")
        if len(seen) > 1:
            listed = ", ".join(f"{make_printable(device.name or '?')} ({address})" for address, device in seen.items())
            raise SourceError(f"{len(seen)} straps are seen: {listed}: choose one, as polar:{next(iter(seen))}")
        return next(iter(seen.values()))

    def _fits(self, device: Any, advertisement: Any) -> bool:
        name = (advertisement.local_name or device.name or "").casefold()
        if self._wanted:
            return self._wanted in (device.address.casefold(), name) or name.endswith(f" {self._wanted}")
        return name.startswith(MAKER.casefold()) or PMD_SERVICE in advertisement.service_uuids

    def _take(self, measurement: tuple[str, int, list[int]]) -> None:
        kind, stamp_ns, samples = measurement
        if kind == "ECG" and samples:
            self.packets.put(StrapPacket(stamp_ns / 1e9, samples))

    async def _watch_battery(self) -> None:
        level = self._bleakheart.BatteryLevel(self._client)
        while True:
            with contextlib.suppress(self._bleak.BleakError, IndexError):  # not every sensor has the service
                self.battery = await level.read()
            await asyncio.sleep(BATTERY_EVERY_S)

    async def _disconnect(self) -> None:
        if self._battery_task is not None:
            self._battery_task.cancel()
        if self._client is not None and self._client.is_connected:
            if self._pmd is not None and not self.lost.is_set():
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(self._pmd.stop_streaming("ECG"), CLOSE_S / 2)
            await self._client.disconnect()


def parse_adapter(text: str) -> str:
    """Return the adapter that "adapter=hci1" names, "" for none. Raises ConfigError."""
    key, _, adapter = text.partition("=")
    if text and (key != "adapter" or not adapter):
        raise ConfigError(f"polar:…?{text} makes no sense: only ?adapter=hci1 may follow on the strap")
    return adapter
