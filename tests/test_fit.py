"""export.fit: a network's tables in a wider layout read back as the same numbers; what does not fit is named."""

import numpy as np
import pytest
from random_network import random_network
from read_tables import read_qprelu_table, read_scale_table

from abbnn.export.config import pipeline_config
from abbnn.export.fit import fitted, with_headroom
from abbnn.export.folding import balance
from abbnn.export.layout import unpack
from abbnn.export.mem import layout_id
from abbnn.golden.ranges import analyse
from abbnn.golden.structure import RESNET_STEM, STRIDED_STEM, member


def configs_of(network):
    return pipeline_config(network, analyse(network), balance(network, 4096))


def parameters_of(configs):
    return [config.parameters for config in configs]


def reactnet(seed=1, **options):
    return random_network(member("fit", (4, 8), (1, 2), image=16, stem=STRIDED_STEM, classes=5), seed, **options)


def birealnet(seed=1, **options):
    structure = member("fit", (4, 8), (1, 1), family="birealnet", image=16, stem=RESNET_STEM, classes=5)
    return random_network(structure, seed, **{"stem_planes": 4, "scales": "free"} | options)


def tables(config):
    """Every table of a stage as numbers that do not depend on its layout, factors without their guard."""
    p, found = config.parameters, {}
    for file, memory in config.memories.items():
        kind = file.removeprefix(f"{config.name}_").removesuffix(".mem")
        prefix = {"scale": "SCALE", "prelu": "PRELU", "shortcut_scale": "SHORTCUT_SCALE"}.get(kind)
        if prefix:
            terms, bits = p[f"{prefix}_TERMS"], p[f"{prefix}_SHIFT_WIDTH"]
            sign, shift = read_scale_table(memory.words, memory.width // (terms * (bits + 2)), terms, bits)
            found[kind] = (sign * 2.0 ** (shift - p[f"{prefix}_GUARD"])).sum(axis=1)
        elif kind == "activation":
            widths = p["FIELD_WIDTH"], p["LEFT_MAX"], p["ACTIVATION_SHIFT_WIDTH"]
            found[kind] = np.stack(read_qprelu_table(memory.words, p["PE"], *widths))
        else:
            lanes = p["PE"] if kind in ("correction", "bias", "shortcut_bias") else 1
            found[kind] = unpack(memory.words, lanes, memory.width // lanes, signed=True) if lanes > 1 else memory.words
    return found


@pytest.mark.parametrize("bits", [0, 1, 3])
@pytest.mark.parametrize("make", [reactnet, birealnet])
def test_wider_layouts_hold_the_same_numbers(make, bits):
    configs = configs_of(make())
    layout = with_headroom(parameters_of(configs), bits)
    wide = fitted(configs, layout)
    assert (layout_id(wide) == layout_id(configs)) == (bits == 0)
    for before, after, parameters in zip(configs, wide, layout, strict=True):
        assert after.parameters == parameters
        assert after.memories.keys() == before.memories.keys()
        numbers = tables(after)
        for kind, values in tables(before).items():
            if not np.array_equal(numbers[kind], values):
                # One lane's words are read as they are: signed fields of another width.
                width, room = (config.memories[f"{config.name}_{kind}.mem"].width for config in (before, after))
                assert [word % (1 << width) for word in numbers[kind]] == list(values), (before.name, kind)
                assert room > width


def test_a_greater_guard_and_more_terms():
    configs = configs_of(birealnet(terms=2))
    layout = [dict(config.parameters) for config in configs]
    for parameters in layout[1:-1]:
        parameters["SCALE_TERMS"] += 1
        parameters["SCALE_GUARD"] += 2
        parameters["SCALE_SUM_WIDTH"] += 2
        parameters["SCALE_SHIFT_WIDTH"] += 1
    for before, after in zip(configs, fitted(configs, layout), strict=True):
        for kind, values in tables(before).items():
            assert np.array_equal(tables(after)[kind], values)


def test_another_network_takes_the_wider_layout():
    layout = with_headroom(parameters_of(configs_of(reactnet(1))), 4)
    configs = configs_of(reactnet(2))
    assert layout_id(fitted(configs, layout)) == layout_id(fitted(configs_of(reactnet(1)), layout))


@pytest.mark.parametrize(
    ("stage", "key", "change", "message"),
    [
        (0, "PE", 1, "stem: PE is "),
        (1, "SUM_WIDTH", -1, "block00: SUM_WIDTH is "),
        (1, "FIELD_WIDTH", -1, "block00: FIELD_WIDTH is "),
        (1, "SCALE_SHIFT_WIDTH", -1, "block00: SCALE_SHIFT_WIDTH is "),
        (1, "SCALE_GUARD", 40, r"block00: a shift of \d+ does not fit \d+ bits"),
        (1, "LEFT_MAX", 40, "block00: exponents .* leave the shifter's range"),
        (-1, "SCORE_WIDTH", -1, "head: SCORE_WIDTH is "),
        (0, "CENTER", 1, "stem: CENTER is "),
    ],
)
def test_what_does_not_fit_is_named(stage, key, change, message):
    configs = configs_of(reactnet())
    layout = [dict(config.parameters) for config in configs]
    layout[stage][key] += change
    with pytest.raises(ValueError, match=message):
        fitted(configs, layout)


def test_guard_needs_room_in_the_sum():
    configs = configs_of(reactnet())
    layout = [dict(config.parameters) for config in configs]
    layout[1]["SCALE_GUARD"] += 1
    layout[1]["SCALE_SHIFT_WIDTH"] += 1
    with pytest.raises(ValueError, match=r"SCALE_SUM_WIDTH is .* with the layout's guard"):
        fitted(configs, layout)


def test_another_number_of_stages():
    configs = configs_of(reactnet())
    with pytest.raises(ValueError, match="the network has 5 stages, the layout 4"):
        fitted(configs, parameters_of(configs[:-1]))


def test_the_first_difference_is_named_whatever_the_seed_of_hashes():
    """The order is that of the parameters."""
    configs = configs_of(reactnet())
    layout = [dict(config.parameters) | {key: -1 for key in config.parameters} for config in configs]
    with pytest.raises(ValueError, match=f"^stem: {next(iter(configs[0].parameters))} is "):
        fitted(configs, layout)
