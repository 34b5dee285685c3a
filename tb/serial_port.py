"""A serial port for the host's blocking code inside a simulation: pyserial's calls on cocotbext-uart's two ends.

The host runs in a thread (`cocotb.task.bridge`); its reads wait in simulated time. Nothing else may use the two ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cocotb.task import bridge, resume
from cocotb.utils import get_sim_time
from cocotbext.uart import UartSink, UartSource


class NoisyPin:
    """A pin that a UartSource drives: a bit is wrong whenever `error()` says so, start and stop bits too."""

    def __init__(self, pin: Any, error: Callable[[], bool]) -> None:
        self.pin, self.error = pin, error
        self._path = pin._path
        self.errors = 0

    def setimmediatevalue(self, value: int) -> None:
        self.pin.value = value

    @property
    def value(self) -> Any:
        return self.pin.value

    @value.setter
    def value(self, value: int) -> None:
        wrong = self.error()
        self.errors += wrong
        self.pin.value = value ^ wrong


class SerialPort:
    """`read`, `write` and `timeout` of a pyserial port; `clock` is the time for `host.link.Link`.

    `to_host` is applied to every byte that comes back and gives what arrives: b"" loses it.
    """

    def __init__(self, to_device: Any, from_device: Any, bit_ns: int) -> None:
        self.noise: Callable[[], bool] = lambda: False
        self.pin = NoisyPin(to_device, lambda: self.noise())
        self.source = UartSource(self.pin, baud=1e9 / bit_ns)
        self.sink = UartSink(from_device, baud=1e9 / bit_ns)
        for end in (self.source, self.sink):
            end.log.setLevel("ERROR")
        self.to_host: Callable[[int], bytes] = lambda byte: bytes([byte])
        self.timeout: float | None = 1.0
        self.now = 0.0
        self.sent = self.received = 0

    def clock(self) -> float:
        return self.now

    def read(self, count: int) -> bytes:
        data: bytes = resume(self._read)(count)
        return data

    def write(self, data: bytes) -> int:
        resume(self._write)(data)
        return len(data)

    async def _write(self, data: bytes) -> None:
        self.now = get_sim_time("sec")
        self.sent += len(data)
        self.source.write_nowait(data)

    async def _read(self, count: int) -> bytes:
        if self.sink.empty():
            nanoseconds = max(1, round((self.timeout or 0.0) * 1e9))
            await self.sink.wait(timeout=nanoseconds, timeout_unit="ns")
        data = bytes(self.sink.read_nowait(min(count, self.sink.count())))
        self.received += len(data)
        self.now = get_sim_time("sec")
        return b"".join(self.to_host(byte) for byte in data)


async def run(function: Callable[[], Any]) -> Any:
    """What the blocking `function` returns; simulated time goes on while it waits on its port."""
    return await bridge(function)()
