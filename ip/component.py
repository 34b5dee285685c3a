"""component.xml: the block in IP-XACT, IEEE 1685-2014."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from abbnn.host.registers import ADDRESS_BITS, REGISTERS, VERSION_MAJOR, VERSION_MINOR, Access, Register
from abbnn.ip.registers import field_reset, fields

NAMESPACE = "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"
MEMORY_MAP = "registers"

AXI_STREAM = {"library": "AMBA4", "name": "AXI4Stream", "vendor": "amba.com", "version": "r0p0_1"}
AXI_LITE = {"library": "AMBA4", "name": "AXI4-Lite", "vendor": "amba.com", "version": "r0p0_0"}
"""Bus definitions under Arm's names."""

FILE_TYPES = {".v": "verilogSource", ".vh": "verilogSource", ".c": "cSource", ".h": "cSource", ".sdc": "SDC"}
"""By a file's suffix; any other is "user", with a word on what it is."""


@dataclass(frozen=True)
class Port:
    name: str
    output: bool
    width: int


def ports(verilog: str) -> list[Port]:
    """Those of the one module in `verilog`, in their order."""
    found = re.findall(r"^ {4}(input|output) +wire +(?:\[(\d+):0\] +)?(\w+),?$", verilog, re.MULTILINE)
    return [Port(name, direction == "output", int(high or 0) + 1) for direction, high, name in found]


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _add(parent: Element, tag: str, text: object = None, /, **attributes: str) -> Element:
    child = SubElement(parent, _tag(tag), attributes)
    if text is not None:
        child.text = str(text)
    return child


def _name(parent: Element, name: str, description: str = "") -> None:
    _add(parent, "name", name)
    if description:
        _add(parent, "description", description)


def _bus(parent: Element, prefix: str, kind: Mapping[str, str], names: Iterable[str], description: str) -> None:
    """The interface of the ports `prefix`_*, of which `names` are all."""
    bus = _add(parent, "busInterface")
    _name(bus, prefix, description)
    _add(bus, "busType", **kind)
    abstraction = _add(_add(bus, "abstractionTypes"), "abstractionType")
    _add(abstraction, "abstractionRef", **{**kind, "name": f"{kind['name']}_rtl"})
    maps = _add(abstraction, "portMaps")
    logical = {name: name.removeprefix(f"{prefix}_").upper() for name in names} | {"aclk": "ACLK", "aresetn": "ARESETn"}
    for physical, signal in logical.items():
        one = _add(maps, "portMap")
        _add(_add(one, "logicalPort"), "name", signal)
        _add(_add(one, "physicalPort"), "name", physical)
    mode = _add(bus, "master" if prefix.startswith("m_") else "slave")
    if kind is AXI_LITE:
        _add(mode, "memoryMapRef", memoryMapRef=MEMORY_MAP)


BUSES = {
    "s_axis": (AXI_STREAM, "pixels, one a word in its bits 23:0; TLAST ends an image"),
    "m_axis": (AXI_STREAM, "results: the scores, class 0 first, then the class; TLAST ends a result"),
    "s_load_axis": (AXI_STREAM, "load images: all tables of a network"),
    "s_axil": (AXI_LITE, "registers"),
}


def _register(block: Element, register: Register, stages: int) -> None:
    one = _add(block, "register")
    _name(one, register.name, register.meaning)
    if register.per_stage:
        _add(one, "dim", stages)
    _add(one, "addressOffset", f"'h{register.offset:X}")
    _add(one, "size", 32)
    _add(
        one, "volatile", "false" if register.name == "IRQ_ENABLE" else "true"
    )  # the only one that software alone changes
    _add(one, "access", "read-only" if register.access is Access.RO else "read-write")
    for field in fields(register):
        part = _add(one, "field")
        _name(part, field.name, field.meaning)
        _add(part, "bitOffset", field.low)
        reset = field_reset(register, field)
        if reset is not None:
            _add(_add(_add(part, "resets"), "reset"), "value", f"'h{reset:X}")
        _add(part, "bitWidth", field.width)
        if register.access is Access.W1C:
            _add(part, "modifiedWriteValue", "oneToClear")


def _file(parent: Element, path: str) -> None:
    suffix = path[path.rfind(".") :]
    one = _add(parent, "file")
    _add(one, "name", path)
    if suffix in FILE_TYPES:
        _add(one, "fileType", FILE_TYPES[suffix])
    else:
        _add(one, "fileType", "user", user=suffix.removeprefix("."))
    if suffix in (".vh", ".h"):
        _add(one, "isIncludeFile", "true")


VIEWS = {"synthesis": ("", ("rtl", "memory", "constraints")), "simulation": ("_tb", ("rtl", "memory", "simulation"))}
"""View -> what its module's name has behind the top's, and its file sets."""


def _views(model: Element, top: str) -> None:
    views, instantiations = _add(model, "views"), _add(model, "instantiations")
    for view, (suffix, used) in VIEWS.items():
        one = _add(views, "view")
        _add(one, "name", view)
        _add(one, "envIdentifier", "::")
        _add(one, "componentInstantiationRef", view)
        one = _add(instantiations, "componentInstantiation")
        _add(one, "name", view)
        _add(one, "language", "verilog")
        _add(one, "moduleName", f"{top}{suffix}")
        for name in used:
            _add(_add(one, "fileSetRef"), "localName", name)


def component(top: str, network: str, verilog: str, stages: int, filesets: Mapping[str, Sequence[str]]) -> str:
    """The file's text. `verilog` is that of `top`; `filesets`: name -> paths of files, those of VIEWS among them."""
    ElementTree.register_namespace("ipxact", NAMESPACE)
    root = Element(_tag("component"))
    version = f"{VERSION_MAJOR}.{VERSION_MINOR}"  # of the register map, which is what programs depend on
    for key, text in {"vendor": "abbnn", "library": "abbnn", "name": top, "version": version}.items():
        _add(root, key, text)
    all_ports = ports(verilog)
    names = [port.name for port in all_ports]
    buses = _add(root, "busInterfaces")
    for prefix, (kind, what) in BUSES.items():
        own = [name for name in names if name.startswith(f"{prefix}_")]
        if own:
            _bus(buses, prefix, kind, own, what)
    memory_map = _add(_add(root, "memoryMaps"), "memoryMap")
    _add(memory_map, "name", MEMORY_MAP)
    block = _add(memory_map, "addressBlock")
    _add(block, "name", "abbnn")
    _add(block, "baseAddress", 0)
    _add(block, "range", 1 << ADDRESS_BITS)
    _add(block, "width", 32)
    _add(block, "usage", "register")
    for register in REGISTERS:
        _register(block, register, stages)
    _add(memory_map, "addressUnitBits", 8)
    model = _add(root, "model")
    _views(model, top)
    listed = _add(model, "ports")
    for port in all_ports:
        one = _add(listed, "port")
        _add(one, "name", port.name)
        wire = _add(one, "wire")
        _add(wire, "direction", "out" if port.output else "in")
        if port.width > 1:
            vector = _add(_add(wire, "vectors"), "vector")
            _add(vector, "left", port.width - 1)
            _add(vector, "right", 0)
    sets = _add(root, "fileSets")
    for name, paths in filesets.items():
        one = _add(sets, "fileSet")
        _add(one, "name", name)
        for path in paths:
            _file(one, path)
    _add(root, "description", f"{network}, a binary neural network without multiplications")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
