"""Parameter sets at which `make lint` elaborates every module, beside its defaults. A new module needs an entry here.

Corners are the least, the greatest usual and the unequal values: one lane, one channel group, as many lanes as
channels, more outputs than inputs and the other way round, and the sizes that the shipped network uses. All of them are
legal; what is not stands in BAD_PARAMETERS of the testbenches. abbnn_core's other parameters are in its header.
"""

Corners = list[dict[str, int | str]]


def _rows(names: str, *rows: tuple[int | str, ...]) -> Corners:
    """One set a row; `names` heads the columns."""
    return [dict(zip(names.split(), row, strict=True)) for row in rows]


CORNERS: dict[str, Corners] = {
    # Stream plumbing.
    "abbnn_skid": _rows("DATA_WIDTH", (1,), (576,)),
    "abbnn_fifo": _rows("DATA_WIDTH DEPTH", (1, 2), (1, 3), (64, 4), (33, 1000), (8, 1024)),
    "abbnn_credit": _rows("DATA_WIDTH DEPTH", (1, 2), (320, 5), (20, 24)),
    "abbnn_fork": _rows("DATA_WIDTH", (1,), (576,)),
    "abbnn_resize": _rows(
        "LANE_WIDTH S_LANES M_LANES",
        (1, 1, 1),
        (16, 4, 4),
        (1, 1, 2),
        (1, 2, 1),
        (16, 2, 6),
        (16, 12, 4),
    ),
    "abbnn_replay": _rows("DATA_WIDTH DEPTH TIMES", (1, 1, 1), (27, 1, 5), (9, 3, 1), (288, 2, 32)),
    "abbnn_guard": _rows("DATA_WIDTH BEATS", (1, 1), (8, 2), (24, 1024), (24, 1000)),
    "abbnn_subsample": _rows("DATA_WIDTH GROUPS HEIGHT WIDTH", (1, 1, 1, 1), (64, 3, 5, 7), (32, 16, 32, 32)),
    "abbnn_boot": _rows("WORDS", (0,), (512,), (513,), (12000,)),
    "abbnn_drop": _rows("DATA_WIDTH", (1,), (64,)),
    "abbnn_table": _rows("WIDTH DEPTH", (1, 1), (1, 2), (13, 5), (576, 256)),
    # Registers.
    "abbnn_axi": _rows("LOADABLE", (0,)),
    "abbnn_axil_registers": _rows(
        "STAGES HEIGHT WIDTH CLASSES", (1, 1, 1, 1), (8, 65535, 65535, 65535), (9, 32, 64, 10), (64, 224, 224, 1000)
    ),
    # Reset tree and load port.
    "abbnn_reset": [],
    # The link to a host.
    "abbnn_uart_rx": _rows("CLOCK_HZ BAUD", (8, 1), (9, 1), (50000000, 2000000), (125000000, 115200)),
    "abbnn_uart_tx": _rows("CLOCK_HZ BAUD", (8, 1), (9, 1), (50000000, 2000000), (125000000, 115200)),
    "abbnn_packet_rx": _rows("GAP_CYCLES", (1,), (255,), (256,)),
    "abbnn_packet_tx": [],
    "abbnn_gather": _rows("BYTES", (2,), (4,)),
    "abbnn_axil_master": _rows("ADDRESS_WIDTH", (1,), (32,)),
    "abbnn_link_tx": _rows("CLASSES CREDIT_BYTES", (1, 1), (1000, 16)),
    "abbnn_link": _rows(
        "PIXELS CLASSES RX_BYTES TAGS GAP_CYCLES POLL_CYCLES",
        (1, 1, 128, 2, 1, 1),
        (50176, 1000, 4096, 251, 600, 65535),
    ),
    "abbnn_board": _rows("CLOCK_HZ BAUD BOOT_WORDS RX_BYTES GAP_CYCLES", (100000000, 115200, 0, 128, 100)),
    "abbnn_crc32": _rows("WIDTH", (1,), (32,)),
    "abbnn_gate": [],
    "abbnn_load": _rows(
        "TABLES HEADERS DRAIN", (1, "64'h0010000000010000", 1), (2, "128'h00000003000000010000000500020000", 255)
    ),
    "abbnn_memory": _rows(
        "WIDTH DEPTH LOAD_MEMORY STYLE", (1, 1, 0, 0), (32, 2, 4095, 1), (33, 5, 7, 2), (576, 256, 1, 0), (9, 5, -1, 2)
    ),
    # Binary arithmetic.
    "abbnn_window": _rows(
        "DATA_WIDTH LANES GROUPS HEIGHT WIDTH KERNEL STRIDE",
        (1, 1, 1, 1, 1, 1, 1),
        (1, 1, 1, 1, 1, 3, 1),
        (8, 3, 1, 32, 32, 3, 2),
        (8, 1, 3, 9, 7, 7, 2),
        (1, 16, 8, 4, 4, 3, 1),
        (1, 2, 3, 5, 6, 5, 1),
    ),
    "abbnn_popcount": _rows("WIDTH LATENCY", (1, 1), (19, 3), (576, 4)),
    "abbnn_popcount_lut6": _rows(
        "WIDTH LATENCY",
        *((width, 3) for width in (1, 2, 3, 7, 10, 11, 22, 36, 64)),
        (1, 1),
        (1, 6),
        (300, 1),
        (1152, 4),
    ),
    "abbnn_popcount_lut4": _rows(
        "WIDTH LATENCY",
        *((width, 3) for width in (1, 2, 3, 4, 7, 8, 36, 64)),
        (1, 1),
        (1, 6),
        (300, 1),
        (1152, 4),
    ),
    "abbnn_xnor_array": _rows(
        "PE SIMD SIMD_FOLD CHANNELS OUT_HEIGHT OUT_WIDTH BORDER SUM_WIDTH WEIGHT_MEMORY",
        (1, 1, 1, 1, 1, 1, 0, 3, 0),
        (1, 9, 1, 1, 1, 1, 1, 6, 1),
        (2, 9, 5, 6, 3, 1, 1, 8, 2),
        (8, 8, 1, 8, 4, 4, 0, 5, 0),
        (4, 288, 2, 64, 8, 8, 1, 12, 0),
        (2, 289, 1, 2, 2, 2, 1, 11, 0),
    ),
    # Multi-bit arithmetic.
    "abbnn_compare": _rows("LANES CHANNELS VALUE_WIDTH", (1, 1, 2), (2, 6, 16), (4, 4, 20), (4, 128, 16)),
    "abbnn_sum_array": _rows(
        "PE SIMD SIMD_FOLD CHANNELS PLANES DATA_WIDTH SUM_WIDTH",
        (1, 1, 1, 1, 1, 2, 3),
        (1, 2, 3, 10, 8, 20, 32),
        (4, 1, 32, 64, 1, 16, 21),
        (4, 27, 1, 32, 8, 9, 22),
        (2, 3, 1, 2, 2, 5, 9),
    ),
    "abbnn_signed_sum": _rows(
        "PE SIMD DATA_WIDTH TREE_WIDTH",
        (1, 1, 2, 3),
        (3, 1, 2, 3),
        (4, 2, 16, 17),
        (2, 27, 9, 14),
        (3, 5, 20, 23),
        (3, 27, 9, 14),
        (4, 10, 16, 20),
    ),
    "abbnn_scale": _rows(
        "LANES CHANNELS TERMS SHIFT_WIDTH GUARD S_WIDTH SUM_WIDTH M_WIDTH PRELU",
        (1, 1, 1, 1, 0, 2, 2, 2, 0),
        (2, 6, 3, 4, 12, 12, 28, 16, 0),
        (4, 4, 2, 5, 0, 8, 40, 40, 0),
        (4, 128, 1, 3, 23, 12, 24, 16, 0),
        (1, 1, 1, 1, 0, 2, 2, 2, 1),
        (2, 6, 1, 2, 17, 16, 33, 16, 1),
        (4, 64, 2, 4, 8, 17, 26, 16, 1),
    ),
    "abbnn_add": _rows("LANES A_WIDTH B_WIDTH", (1, 2, 2), (4, 15, 20), (3, 20, 16)),
    "abbnn_saturate": _rows("LANES S_WIDTH M_WIDTH", (1, 3, 2), (4, 16, 16), (3, 2, 16), (4, 20, 16)),
    "abbnn_qprelu": _rows(
        "LANES CHANNELS S_WIDTH M_WIDTH FIELD_WIDTH LEFT_MAX SHIFT_WIDTH",
        (1, 1, 2, 2, 2, 0, 1),
        (4, 4, 17, 16, 21, 3, 4),
        (2, 6, 12, 24, 13, 7, 5),
    ),
    "abbnn_pool": _rows(
        "LANES CHANNELS VALUE_WIDTH HEIGHT WIDTH",
        (1, 1, 2, 2, 2),
        (4, 4, 16, 4, 6),
        (2, 64, 16, 16, 16),
    ),
    "abbnn_max_pool": _rows(
        "LANES CHANNELS VALUE_WIDTH HEIGHT WIDTH",
        (1, 1, 2, 2, 2),
        (4, 4, 16, 5, 3),
        (1, 2, 8, 4, 2),
        (4, 64, 16, 112, 112),
    ),
    "abbnn_gap": _rows(
        "LANES CHANNELS VALUE_WIDTH POSITIONS SHIFT",
        (1, 1, 2, 1, 0),
        (2, 2, 16, 4, 2),
        (2, 6, 16, 9, 0),
        (4, 128, 16, 16, 4),
    ),
    "abbnn_argmax": _rows("SCORE_WIDTH CLASSES M_WIDTH", (2, 2, 8), (28, 10, 32), (32, 1000, 32), (16, 16, 16)),
    # Stages.
    "abbnn_stem": [
        {"KERNEL": 1, "STRIDE": 1, "PE": 1, "SIMD": 3, "PLANES": 1},
        {"KERNEL": 7, "STRIDE": 2, "PE": 4, "SIMD": 49, "CENTER": "24'h7a7680"},
        {"OUT_CHANNELS": 32, "HEIGHT": 32, "WIDTH": 32, "PE": 4, "SCALE_TERMS": 3, "CENTER": "24'h7a7680"},
        {"CHANNELS": 1, "SIMD": 9, "STRIDE": 1, "PE": 4},
        {"PRELU": 1, "PRELU_TERMS": 3, "PRELU_GUARD": 0, "PRELU_SUM_WIDTH": 16},
        {"KERNEL": 7, "SIMD": 147, "HEIGHT": 9, "WIDTH": 7, "PRELU": 1, "MAX_POOL": 1},
        {"OUT_CHANNELS": 64, "HEIGHT": 224, "WIDTH": 224, "KERNEL": 7, "PE": 16, "SIMD": 147, "MAX_POOL": 1},
    ],
    "abbnn_shortcut": [
        {"IN_CHANNELS": 2, "OUT_CHANNELS": 4, "HEIGHT": 2, "WIDTH": 2, "S_LANES": 2, "PE": 4, "SIMD": 1},
        {"IN_CHANNELS": 32, "OUT_CHANNELS": 64, "HEIGHT": 16, "WIDTH": 16, "S_LANES": 4, "PE": 4, "SIMD": 1},
        {"IN_CHANNELS": 4, "OUT_CHANNELS": 6, "S_LANES": 1, "PE": 3, "SIMD": 4, "SCALE_TERMS": 2},
        {"PLANES": 8},
        {"POOL": 0},
        {"POOL": 0, "IN_CHANNELS": 2, "OUT_CHANNELS": 4, "HEIGHT": 2, "WIDTH": 2, "S_LANES": 2, "PE": 4, "SIMD": 1},
    ],
    "abbnn_block": [
        {"STRIDE": 2, "SHORTCUT": 3, "OUT_CHANNELS": 8, "SHORTCUT_PLANES": 3},
        {"STRIDE": 2, "SHORTCUT": 3, "OUT_CHANNELS": 8, "S_LANES": 4, "PE": 8, "SIMD": 9, "SHORTCUT_SIMD": 4},
        {"STRIDE": 2, "SHORTCUT": 4, "OUT_CHANNELS": 8, "ACTIVATION": 0},
        {"STRIDE": 2, "SHORTCUT": 4, "OUT_CHANNELS": 6, "S_LANES": 1, "PE": 6, "SIMD": 36, "ACTIVATION": 2},
        {"STRIDE": 2, "SHORTCUT": 2, "S_LANES": 4, "PE": 1, "SIMD": 9},
        {"STRIDE": 2, "SHORTCUT": 2, "S_LANES": 1, "PE": 4, "SIMD": 36, "ACTIVATION": 2, "PRELU_TERMS": 3},
        {"KERNEL": 1, "SIMD": 1, "SUM_WIDTH": 4, "WEIGHT_MEMORY": 2},
        {"KERNEL": 1, "SIMD": 4, "S_LANES": 4, "PE": 4, "ACTIVATION": 0},
        {"KERNEL": 1, "SHORTCUT": 1, "OUT_CHANNELS": 8, "SIMD": 2, "S_LANES": 1, "PE": 4},
        {"KERNEL": 1, "SHORTCUT": 1, "OUT_CHANNELS": 8, "SIMD": 4, "S_LANES": 4, "PE": 1},
        {"SHORTCUT": 1, "OUT_CHANNELS": 8, "ACTIVATION": 2},
        {"IN_CHANNELS": 32, "OUT_CHANNELS": 32, "S_LANES": 4, "PE": 4, "SIMD": 288, "SUM_WIDTH": 11, "HEIGHT": 16},
        {"S_LANES": 1, "PE": 4, "SIMD": 36, "SCALE_TERMS": 2},
        {"HEIGHT": 1, "WIDTH": 1, "S_LANES": 4, "PE": 1, "SIMD": 9},
    ],
    "abbnn_head": [
        {"CHANNELS": 1, "POSITIONS": 1, "CLASSES": 2, "S_LANES": 1, "SIMD": 1, "PLANES": 1, "POOL_SHIFT": 0},
        {"CHANNELS": 128, "POSITIONS": 16, "CLASSES": 10, "S_LANES": 4, "PE": 1, "SIMD": 4, "POOL_SHIFT": 4},
        {"CLASSES": 4, "PE": 4, "SIMD": 4, "S_LANES": 1, "M_WIDTH": 28},
    ],
    "abbnn_core": [],
}

# What has tables, loadable.
for _module in ("table", "compare", "qprelu", "scale", "sum_array", "xnor_array", "shortcut", "stem", "block", "head"):
    _corners = CORNERS[f"abbnn_{_module}"]
    _corners += [{**corner, "LOAD_MEMORY": 16} for corner in _corners[-2:]]
CORNERS["abbnn_core"] = [{"LOADABLE": 1}]
