"""What a run of testbenches tells at its end: its seed, and where the waves are."""

from typing import Any

from abbnn.tb import bench


def pytest_configure() -> None:
    bench.seed()  # SEED=random is drawn here, for all processes of the run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"SEED={bench.seed()}")
    for waves in bench.waves_written:
        terminalreporter.write_line(str(waves))
