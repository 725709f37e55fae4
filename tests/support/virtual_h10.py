"""A Polar H10 without a radio: a private D-Bus with a mock of BlueZ (bluezoo), and a strap as a process on it.

    python virtual_h10.py SIGNAL.npy JSON

The strap reads commands from its standard input, a line each: away (the link breaks), vanish (it falls silent without a
word), lose N (the next N packets do not come), clock S (its clock jumps by S seconds).
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from dbus_fast import BusType, Message, MessageType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBytes, DBusDict, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property
from numpy.typing import NDArray

PMD, CONTROL, DATA = (f"fb005c8{i}-02e7-f387-1cad-8acd2d8df0c8" for i in range(3))
BATTERY, LEVEL = "0000180f-0000-1000-8000-00805f9b34fb", "00002a19-0000-1000-8000-00805f9b34fb"
HEART_RATE = "0000180d-0000-1000-8000-00805f9b34fb"
OURS, STRAPS = "00:00:00:00:11:11", "A0:9E:1A:00:00:10"
PACKET = 73
MOCK_STARTS, MOCK_TRIES = 3, 100
StrList = Annotated[list[str], DBusSignature("as")]


@dataclass(frozen=True, slots=True)
class StrapPlan:
    """A strap that sends `fs` samples in a second of its clock, and `speed` of these seconds in one of ours.

    `began_s`: the monotonic second of its first sample, 0: when it is first asked for its ECG.
    """

    name: str = "Polar H10 1234ABCD"
    fs: float = 130.0
    speed: float = 1.0
    battery: int = 80
    ecg: bool = True
    began_s: float = 0.0


class Characteristic(ServiceInterface):
    """A GATT characteristic; `value` is what notifications carry."""

    def __init__(self, uuid: str, service: str, flags: list[str]) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self._uuid, self._service, self._flags = uuid, service, flags
        self.value = b""
        self.notifying = False

    @dbus_property(PropertyAccess.READ)
    def UUID(self) -> DBusStr:  # noqa: N802
        return self._uuid

    @dbus_property(PropertyAccess.READ)
    def Service(self) -> DBusObjectPath:  # noqa: N802
        return self._service

    @dbus_property(PropertyAccess.READ)
    def Flags(self) -> StrList:  # noqa: N802
        return self._flags

    @dbus_property(PropertyAccess.READ)
    def Value(self) -> DBusBytes:  # noqa: N802
        return self.value

    @dbus_method()
    def StartNotify(self) -> None:  # noqa: N802
        self.notifying = True

    @dbus_method()
    def StopNotify(self) -> None:  # noqa: N802
        self.notifying = False

    @dbus_method()
    def Confirm(self) -> None:  # noqa: N802
        pass

    @dbus_method()
    def ReadValue(self, options: DBusDict) -> DBusBytes:  # noqa: N802, ARG002
        return self.value

    @dbus_method()
    def WriteValue(self, value: DBusBytes, options: DBusDict) -> None:  # noqa: N802, ARG002
        self.written(value)

    def written(self, value: bytes) -> None:
        """Take what the other side writes."""

    def send(self, value: bytes) -> None:
        """Notify of a value."""
        self.value = value
        if self.notifying:
            self.emit_properties_changed({"Value": value})


class ControlPoint(Characteristic):
    """Polar's control point: settings, start and stop of the ECG."""

    streaming = False
    has_ecg = True

    def written(self, value: bytes) -> None:
        """Answer a request."""
        command, measurement = value[0], value[1]
        state = {2: True, 3: False}
        if measurement != 0 or not self.has_ecg:
            answer = bytes([0xF0, command, measurement, 3, 0])
        elif command == 1:
            answer = bytes([0xF0, 1, 0, 0, 0, 0, 1, 130, 0, 1, 1, 14, 0])
        elif command in state:
            error = 6 if self.streaming == state[command] else 0
            self.streaming = state[command]
            answer = bytes([0xF0, command, 0, error, 0])
        else:
            answer = bytes([0xF0, command, 0, 1, 0])
        asyncio.get_running_loop().call_later(0.01, self.send, answer)


class GattService(ServiceInterface):
    """A primary GATT service."""

    def __init__(self, uuid: str) -> None:
        super().__init__("org.bluez.GattService1")
        self._uuid = uuid

    @dbus_property(PropertyAccess.READ)
    def UUID(self) -> DBusStr:  # noqa: N802
        return self._uuid

    @dbus_property(PropertyAccess.READ)
    def Primary(self) -> Annotated[bool, DBusSignature("b")]:  # noqa: N802
        return True


class Advertisement(ServiceInterface):
    """What a strap that is free says of itself."""

    def __init__(self, name: str) -> None:
        super().__init__("org.bluez.LEAdvertisement1")
        self._name, self._turns = name, 0

    def turn(self) -> None:
        """Say something new, as a real strap does: the mock reports what is as it was only once."""
        self._turns += 1
        self.emit_properties_changed({"ServiceUUIDs": self._say_services()})

    def _say_services(self) -> list[str]:
        return [HEART_RATE, PMD, f"{self._turns:08x}{HEART_RATE[8:]}"]

    @dbus_property(PropertyAccess.READ)
    def Type(self) -> DBusStr:  # noqa: N802
        return "peripheral"

    @dbus_property(PropertyAccess.READ)
    def LocalName(self) -> DBusStr:  # noqa: N802
        return self._name

    @dbus_property(PropertyAccess.READ)
    def ServiceUUIDs(self) -> StrList:  # noqa: N802
        return self._say_services()

    @dbus_property(PropertyAccess.READ)
    def Discoverable(self) -> Annotated[bool, DBusSignature("b")]:  # noqa: N802
        return True


class VirtualStrap:
    """The strap on its bus."""

    def __init__(self, bus: MessageBus, samples: NDArray[np.int32], plan: StrapPlan) -> None:
        self._bus, self._samples, self._plan = bus, samples, plan
        self.control = ControlPoint(CONTROL, "/strap/pmd", ["read", "write", "indicate"])
        self.control.value = bytes([0x0F, 5 if plan.ecg else 4, 0])
        self.control.has_ecg = plan.ecg
        self.data = Characteristic(DATA, "/strap/pmd", ["notify"])
        level = Characteristic(LEVEL, "/strap/battery", ["read", "notify"])
        level.value = bytes([plan.battery])
        self._advertisement = Advertisement(plan.name)
        for path, interface in (
            ("/strap/pmd", GattService(PMD)),
            ("/strap/pmd/control", self.control),
            ("/strap/pmd/data", self.data),
            ("/strap/battery", GattService(BATTERY)),
            ("/strap/battery/level", level),
            ("/advertisement", self._advertisement),
        ):
            bus.export(path, interface)
        self._lose = 0
        self._clock_s = 1000.0
        self._silent = False

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: Any) -> None:
        """Call BlueZ. Raises RuntimeError."""
        reply = await self._bus.call(
            Message("org.bluez", path, interface, member, signature=signature, body=list(body))
        )
        assert reply is not None
        if reply.message_type == MessageType.ERROR:
            raise RuntimeError(f"{member}: {reply.error_name} {reply.body}")

    async def register(self) -> None:
        """Offer the services, and say so."""
        for attempt in range(MOCK_TRIES):
            try:
                await self.call(
                    "/org/bluez/hci1", "org.bluez.GattManager1", "RegisterApplication", "oa{sv}", "/strap", {}
                )
                break
            except RuntimeError:  # the mock has not started yet
                if attempt == MOCK_TRIES - 1:
                    raise
                await asyncio.sleep(0.1)
        await self._manage_advertising("RegisterAdvertisement", "oa{sv}", {})

    async def _manage_advertising(self, member: str, signature: str, *options: Any) -> None:
        await self.call(
            "/org/bluez/hci1", "org.bluez.LEAdvertisingManager1", member, signature, "/advertisement", *options
        )

    async def break_link(self) -> None:
        """Disconnect whoever is connected."""
        self.control.streaming = False
        path = f"/org/bluez/hci0/dev_{STRAPS.replace(':', '_')}"  # the mock tells nobody of the other end
        with contextlib.suppress(RuntimeError):
            await self.call(path, "org.bluez.Device1", "Disconnect")

    async def send(self) -> None:
        """Send packets in time, whether anybody listens or not: a heart does not wait."""
        while not self._plan.began_s and not self.control.streaming:
            self._advertisement.turn()
            await asyncio.sleep(0.2)
        began_s = self._plan.began_s or time.monotonic()
        at = PACKET * int((time.monotonic() - began_s) * self._plan.fs * self._plan.speed / PACKET)
        while at + PACKET <= len(self._samples):
            at += PACKET
            due_s = began_s + at / self._plan.fs / self._plan.speed
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self._advertisement.turn()
            if self._lose:
                self._lose -= 1
            elif self.control.streaming and not self._silent:
                stamp = round((self._clock_s + (at - 1) / self._plan.fs) * 1e9)
                packet = self._samples[at - PACKET : at].astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
                self.data.send(bytes([0]) + stamp.to_bytes(8, "little") + bytes([0]) + packet.tobytes())
        await asyncio.sleep(3600)

    async def obey(self, line: str) -> None:
        """Do what a line says."""
        command, *words = line.split()
        if command == "away":
            await self._manage_advertising("UnregisterAdvertisement", "o")
            await self.break_link()
        elif command == "vanish":
            self._silent = True
        elif command == "lose":
            self._lose = int(words[0])
        elif command == "clock":
            self._clock_s += float(words[0])


async def _be_a_strap(path: str, plan: StrapPlan) -> None:
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    strap = VirtualStrap(bus, np.load(path), plan)
    await strap.register()
    sender = asyncio.create_task(strap.send())
    print("ready", flush=True)  # noqa: T201
    while line := await asyncio.to_thread(sys.stdin.readline):
        await strap.obey(line)
        print("done", flush=True)  # noqa: T201
    sender.cancel()


class StrapProcess:
    """The strap as its tests see it."""

    def __init__(self, folder: Path, samples: NDArray[np.int32], plan: StrapPlan) -> None:
        path = folder / f"strap-{time.monotonic_ns()}.npy"
        np.save(path, samples)
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(path), json.dumps(asdict(plan))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def tell(self, command: str) -> None:
        """Have it do something, and wait until it is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        self._read()

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.communicate()

    def _read(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "the virtual strap has ended"


class VirtualBluetooth:
    """A private system bus for this process and its children; a mock of BlueZ on it, and the strap.

    The mock cannot connect the same device twice, so a strap that comes back comes with another mock, as if the
    Bluetooth service had been started again too.
    """

    def __init__(self, folder: Path, samples: NDArray[np.int32], plan: StrapPlan) -> None:
        self._folder, self._samples, self._plan = folder, samples, plan
        self._bluez: subprocess.Popen[bytes] | None = None
        self.strap: StrapProcess | None = None
        self._before = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
        self._daemon = subprocess.Popen(
            ["dbus-daemon", "--session", "--nofork", "--print-address"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._daemon.stdout is not None
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = self._daemon.stdout.readline().strip()

    def start(self, adapters: int = 2) -> None:
        """Have Bluetooth, and with a second adapter the strap on it."""
        named = [word for address in (OURS, STRAPS)[:adapters] for word in ("--adapter", address)]
        mock = Path(sys.executable).with_name("bluezoo")
        for _ in range(MOCK_STARTS):
            self._bluez = subprocess.Popen([mock, "--auto-enable", "--scan-interval", "1", "-q", "-q", *named])
            if adapters < 2:
                time.sleep(1.0)
                return
            try:
                self.strap = StrapProcess(self._folder, self._samples, self._plan)
                return
            except AssertionError:
                self.stop()
        raise AssertionError("the mock of BlueZ does not take the strap")

    def stop(self) -> None:
        """Take strap and Bluetooth away, without a word."""
        if self.strap is not None:
            self.strap.kill()
            self.strap = None
        if self._bluez is not None:
            self._bluez.kill()
            self._bluez.communicate()
            self._bluez = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._daemon.kill()
        self._daemon.communicate()
        if self._before is None:
            del os.environ["DBUS_SYSTEM_BUS_ADDRESS"]
        else:
            os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = self._before


def find_missing_program() -> str:
    """Return why there is no virtual strap here, "" where there is one."""
    if shutil.which("dbus-daemon") is None:
        return "needs dbus-daemon: apt-get install dbus"
    if not Path(sys.executable).with_name("bluezoo").exists():
        return "needs bluezoo: pip install bluezoo"
    return ""


if __name__ == "__main__":
    asyncio.run(_be_a_strap(sys.argv[1], StrapPlan(**json.loads(sys.argv[2]))))
