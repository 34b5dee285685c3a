"""syn.outreg on netlists of one block RAM: what moves, and everything that keeps a register outside.

That the netlist still computes the same is shown at gate level: tb/test_gate_level.py.
"""

import pytest

from abbnn.syn.outreg import use_output_registers

CLOCK, ENABLE, DATA, REGISTERED = 2, 3, 100, 200


def flip_flop(index, **changes):
    """Register number `index`, behind data output `index`; CE, LSR, CLK, DI as pins, the rest as parameters."""
    pins = {"CLK": [CLOCK], "CE": [ENABLE], "LSR": ["0"], "DI": [DATA + index], "Q": [REGISTERED + index]}
    parameters = {"CEMUX": "CE", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET", "GSR": "DISABLED"}
    for key, value in changes.items():
        if key in pins:
            pins[key] = [value]
        else:
            parameters[key] = value
    directions = {pin: "output" if pin == "Q" else "input" for pin in pins}
    return {"type": "TRELLIS_FF", "parameters": parameters, "port_directions": directions, "connections": pins}


def netlist(width=9, *, bits=4, registers=None, ram=None, readers=()):
    """A ROM that is read at port B, `bits` of its outputs used; a wide one has half of them at side A.

    `registers` replaces the flip-flops, `ram` pins of the block RAM; `readers` are nets that something else reads.
    """
    sides = "AB" if width == 36 else "B"
    outputs = {f"DO{sides[index % len(sides)]}{index // len(sides)}": [DATA + index] for index in range(bits)}
    pins = {f"{name}{side}": ["0"] for name in ("CE", "OCE", "RST", "CLK") for side in "AB"}
    pins |= {"CLKB": [CLOCK], "CEB": [ENABLE]} | outputs | {pin: [net] for pin, net in (ram or {}).items()}
    cell = {
        "type": "DP16KD",
        "parameters": {
            "DATA_WIDTH_A": f"{width:032b}",
            "DATA_WIDTH_B": f"{width:032b}",
            "REGMODE_A": "NOREG",
            "REGMODE_B": "NOREG",
        },
        "port_directions": {pin: "output" if pin.startswith("DO") else "input" for pin in pins},
        "connections": pins,
    }
    cells = {"ram": cell}
    for index, register in enumerate(registers or [flip_flop(index) for index in range(bits)]):
        cells[f"register{index}"] = register
    ports = {"out": {"direction": "output", "bits": [REGISTERED + index for index in range(bits)]}}
    if readers:
        ports["more"] = {"direction": "output", "bits": list(readers)}
    return {"cells": cells, "ports": ports}


@pytest.mark.parametrize("width", [9, 36])
@pytest.mark.parametrize("enable", [ENABLE, None])
def test_registers_move(width, enable):
    """The outputs get the registers' nets, and OCE their enable: a signal, or always."""
    changes = {} if enable else {"CEMUX": "1 "}
    module = netlist(width, registers=[flip_flop(index, **changes) for index in range(4)])
    assert use_output_registers(module) == 4
    assert set(module["cells"]) == {"ram"}
    ram = module["cells"]["ram"]
    pins, parameters = ram["connections"], ram["parameters"]
    assert parameters["REGMODE_B"] == "OUTREG"
    assert parameters["REGMODE_A"] == ("OUTREG" if width == 36 else "NOREG")
    assert pins["OCEB"] == [enable or "1"]
    data = sorted(net for pin, (net,) in pins.items() if pin.startswith("DO"))
    assert data == [REGISTERED + index for index in range(4)]
    assert use_output_registers(module) == 0


ALL = range(4)
KEPT = {
    "reset": {"registers": [flip_flop(index, LSR=7) for index in ALL]},
    "starts_from_1": {"registers": [flip_flop(index, REGSET="SET") for index in ALL]},
    "inverted_enable": {"registers": [flip_flop(index, CEMUX="INV") for index in ALL]},
    "inverted_clock": {"registers": [flip_flop(index, CLKMUX="INV") for index in ALL]},
    "another_clock": {"registers": [flip_flop(index, CLK=9) for index in ALL]},
    "two_enables": {"registers": [flip_flop(index, CE=ENABLE + index // 2) for index in ALL]},
    "not_all": {"registers": [flip_flop(index) for index in range(3)], "readers": [DATA + 3]},
    "read_elsewhere": {"readers": [DATA]},
    "reset_of_the_ram": {"ram": {"RSTB": 8}},
}


@pytest.mark.parametrize("width", [9, 36])
@pytest.mark.parametrize("case", KEPT)
def test_registers_stay(case, width):
    module = netlist(width, **KEPT[case])
    before = len(module["cells"])
    assert use_output_registers(module) == 0
    assert len(module["cells"]) == before
    assert module["cells"]["ram"]["parameters"]["REGMODE_B"] == "NOREG"


def test_an_output_that_nobody_reads_does_not_matter():
    module = netlist(registers=[flip_flop(index) for index in range(3)])
    assert use_output_registers(module) == 3
