"""host/registers.py: the table is consistent, and docs/registers.md shows it."""

import re

import pytest

from abbnn import paths, verilog
from abbnn.host.registers import (
    ADDRESS_BITS,
    BY_NAME,
    IRQ_FRAME_ERROR,
    IRQ_LOAD_DONE,
    IRQ_LOAD_ERROR,
    IRQ_RESULT,
    MAX_STAGES,
    REGISTERS,
    SOFT_RESET,
    STALL_OFFSET,
    STATUS_FRAME_ERROR,
    STATUS_LOAD_ERROR,
    STATUS_LOADING,
    STATUS_READY,
    Access,
    expanded,
    find,
    markdown,
)

PAGE = paths.CHECKOUT / "docs" / "registers.md"


def test_the_page_is_the_table():
    assert PAGE.read_text() == markdown(), "docs/registers.md: run abbnn host registers > docs/registers.md"


@pytest.mark.parametrize("stages", [1, 2, 20, MAX_STAGES])
def test_addresses(stages):
    """Aligned, ascending, within the address space, each once; as many stall registers as stages."""
    table = expanded(stages)
    offsets = [register.offset for register in table]
    assert offsets == sorted(set(offsets))
    assert all(offset % 4 == 0 and 0 <= offset < 1 << ADDRESS_BITS for offset in offsets)
    assert len({register.name for register in table}) == len(table)
    assert len(table) == len(REGISTERS) - 1 + stages
    assert [register.offset for register in table[-stages:]] == [STALL_OFFSET + 4 * i for i in range(stages)]


@pytest.mark.parametrize("stages", [0, -1, MAX_STAGES + 1])
def test_a_core_has_1_to_64_stages(stages):
    with pytest.raises(ValueError, match=f"{stages} stages"):
        expanded(stages)


@pytest.mark.parametrize("register", REGISTERS, ids=lambda register: register.name)
def test_fields(register):
    """Inside the register, not over each other, named once; whatever is written must have fields."""
    masks = [field.mask for field in register.fields]
    assert sum(masks) < 1 << 32
    assert all(one & other == 0 for i, one in enumerate(masks) for other in masks[:i])
    assert len({field.name for field in register.fields}) == len(register.fields)
    assert register.writable == (0 if register.access is Access.RO else sum(masks))
    if register.access is not Access.RO:
        assert register.fields
    if register.reset is not None:
        assert 0 <= register.reset < 1 << 32
        assert not register.fields or register.reset & ~sum(masks) == 0
    value = 0xA5C3_5A3C
    parts = register.decode(value)
    if register.fields:
        assert sum(parts[f.name] << f.low for f in register.fields) == value & sum(masks)
    else:
        assert parts == {"value": value}


def test_masks_are_the_fields():
    pairs = {
        "CONTROL": {"soft_reset": SOFT_RESET},
        "STATUS": {
            "ready": STATUS_READY,
            "loading": STATUS_LOADING,
            "frame_error": STATUS_FRAME_ERROR,
            "load_error": STATUS_LOAD_ERROR,
        },
    }
    interrupts = {
        "result": IRQ_RESULT,
        "frame_error": IRQ_FRAME_ERROR,
        "load_done": IRQ_LOAD_DONE,
        "load_error": IRQ_LOAD_ERROR,
    }
    pairs |= {"IRQ_ENABLE": interrupts, "IRQ_PENDING": interrupts}
    for name, masks in pairs.items():
        assert {field.name: field.mask for field in BY_NAME[name].fields} == masks


def test_find():
    for register in REGISTERS:
        if not register.per_stage:
            assert find(register.name) is find(register.name.lower()) is register
    assert find(" stall[0] ").offset == STALL_OFFSET
    assert find("STALL[63]").offset == STALL_OFFSET + 252
    for name in ("STALL", "STALL[64]", "STALL[]", "STALL[-1]", "ID[0]", "", "NOTHING", "STATUS,"):
        with pytest.raises(ValueError, match=re.escape(repr(name))):
            find(name)


def test_the_rtl_has_these_constants():
    """Identity and version stand in the RTL a second time: this needs no simulator to see a difference."""
    text = verilog.file("abbnn_axil_registers").read_text()
    for name in ("ID", "VERSION"):
        found = re.search(rf"localparam \[31:0\] {name}\s*= 32'h([0-9a-f]{{8}});", text)
        assert found, name
        assert int(found[1], 16) == BY_NAME[name].reset
