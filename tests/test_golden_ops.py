"""The fast operations against their plain twins, and both against examples worked out by hand."""

import ast
import inspect
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abbnn.golden import ops

PROPERTY = settings(max_examples=40)
SEEDS = st.integers(0, 2**32 - 1)

ALLOWED_OPERATORS = (ast.Add, ast.Sub, ast.LShift, ast.RShift, ast.BitAnd, ast.BitOr, ast.BitXor, ast.USub)
ALLOWED_CALLS = {"block_name", "enumerate", "layer_names", "len", "max", "range", "reversed", "zip"}
ALLOWED_METHODS = {"tolist"}


def forbidden_arithmetic(source):
    """Line and reason of everything in `source` that could compute more than adds, bit operations and shifts do."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign | ast.UnaryOp):
            if not isinstance(node.op, ALLOWED_OPERATORS):
                found.append((node.lineno, type(node.op).__name__))
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id not in ALLOWED_CALLS | own:
                found.append((node.lineno, called.id))
            elif isinstance(called, ast.Attribute) and called.attr not in ALLOWED_METHODS:
                found.append((node.lineno, called.attr))
            elif not isinstance(called, ast.Name | ast.Attribute):
                found.append((node.lineno, "computed call"))
    return found


def test_plain_has_only_adds_bit_operations_and_shifts() -> None:
    assert forbidden_arithmetic(Path(inspect.getsourcefile(plain)).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a * b", "Mult"),
        ("a / b", "Div"),
        ("a // b", "FloorDiv"),
        ("a % b", "Mod"),
        ("a ** b", "Pow"),
        ("a @ b", "MatMult"),
        ("[0] * 3", "Mult"),
        ("a *= b", "Mult"),
        ("pow(a, b)", "pow"),
        ("np.dot(a, b)", "dot"),
        ("a.__mul__(b)", "__mul__"),
        ("[sum][0](a)", "computed call"),
    ],
)
def test_the_check_of_plain_sees(line, reason) -> None:
    assert forbidden_arithmetic(f"a + b\n{line}\n") == [(2, reason)]


def numbers(rng, low, high, shape):
    """Uniform integers with the ends low and high over-represented."""
    values = rng.integers(low, high, shape, endpoint=True)
    ends = rng.random(shape)
    return np.where(ends < 0.1, low, np.where(ends > 0.9, high, values))


def odd_numbers(rng, planes, shape):
    limit = (1 << planes) - 1
    return 2 * numbers(rng, 0, limit, shape) - limit


def map_shape(rng):
    height, width, channels = rng.integers(1, 6, 3)
    return int(height), int(width), int(channels)


def assert_same(fast, slow):
    """A batch of one against the plain result, shape and all."""
    np.testing.assert_array_equal(fast[0], np.array(slow, dtype=object).astype(np.int64), strict=False)
    assert fast.shape[1:] == np.array(slow, dtype=object).shape


def test_value_range_and_saturate() -> None:
    assert ops.value_range(8) == (-128, 127)
    values = [-(2**40), -129, -128, -1, 0, 127, 128, 2**40]
    expected = [-128, -128, -128, -1, 0, 127, 127, 127]
    assert ops.saturate(np.array(values), 8).tolist() == expected
    assert [plain.saturate(value, 8) for value in values] == expected
    assert ops.saturate(np.array([-2, -1, 0, 1, 2]), 1).tolist() == [-1, -1, 0, 0, 0]


@pytest.mark.parametrize(("bits", "kind"), [(2, np.int32), (32, np.int32), (33, np.int64), (64, np.int64)])
def test_integer_type(bits, kind) -> None:
    assert ops.integer_type(bits) is kind


def test_float_type() -> None:
    assert ops.float_type(ops.EXACT_FLOAT32 - 1) is np.float32
    assert ops.float_type(ops.EXACT_FLOAT32) is ops.float_type(ops.EXACT_FLOAT64 - 1) is np.float64


def test_compare_by_hand() -> None:
    """A value equal to its threshold is +1: sign(0) = 1."""
    values = [[[-1, 0, 1, 5, 5]]]
    thresholds = [0, 0, 0, 5, 6]
    expected = [[[0, 1, 1, 1, 0]]]
    assert plain.compare(values, thresholds) == expected
    assert ops.compare(np.array([values]), np.array(thresholds)).tolist() == [expected]
    assert ops.compare(np.array([values]), np.array(thresholds)).dtype == np.uint8


@given(SEEDS)
@PROPERTY
def test_compare(seed) -> None:
    rng = np.random.default_rng(seed)
    shape = map_shape(rng)
    values, thresholds = numbers(rng, -3, 3, shape), numbers(rng, -3, 3, shape[2])
    assert_same(ops.compare(values[None], thresholds), plain.compare(values.tolist(), thresholds.tolist()))


def test_xnor_conv_by_hand() -> None:
    """All +1 in a 3x3 map: each sum counts the taps that are inside; a -1 in the kernel's centre takes two off."""
    bits = np.ones((1, 3, 3, 1), np.uint8)
    weights = np.ones((2, 3, 3, 1), np.uint8)
    weights[1, 1, 1] = 0
    counts = [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
    result = ops.xnor_conv(bits, weights, 1)
    assert result[0, :, :, 0].tolist() == counts
    assert result[0, :, :, 1].tolist() == [[count - 2 for count in row] for row in counts]
    # Only the upper left tap is +1: it is padding in the first row and column, and the map's corner in the middle.
    single = np.zeros((1, 3, 3, 1), np.uint8)
    single[0, 0, 0] = 1
    assert ops.xnor_conv(bits, single, 1)[0, :, :, 0].tolist() == [[-4, -6, -4], [-6, -7, -4], [-4, -4, -2]]
    assert_same(ops.xnor_conv(bits, single, 2), plain.xnor_conv(bits[0].tolist(), single.tolist(), 2))
    assert ops.xnor_conv(bits, single, 2)[0, :, :, 0].tolist() == [[-4, -4], [-4, -2]]


@given(SEEDS, st.sampled_from([1, 3, 5]), st.sampled_from([1, 2, 3]))
@PROPERTY
def test_xnor_conv(seed, kernel, stride) -> None:
    rng = np.random.default_rng(seed)
    shape = map_shape(rng)
    bits = rng.integers(0, 2, shape, dtype=np.uint8)
    weights = rng.integers(0, 2, (int(rng.integers(1, 4)), kernel, kernel, shape[2]), dtype=np.uint8)
    fast = ops.xnor_conv(bits[None], weights, stride)
    assert fast.shape == (1, -(-shape[0] // stride), -(-shape[1] // stride), len(weights))
    assert_same(fast, plain.xnor_conv(bits.tolist(), weights.tolist(), stride))


def test_signs() -> None:
    assert ops.signs(np.array([0, 1, 1], np.uint8)).tolist() == [-1, 1, 1]


@pytest.mark.parametrize("held", [0, 1, 2, 4, 5, 100])
def test_convolve_in_parts(held, monkeypatch) -> None:
    """However many images' windows are laid out at a time, each image gets its sums, and in the same type."""
    rng = np.random.default_rng(1)
    values, weights = rng.integers(-9, 9, (5, 6, 4, 3)), rng.integers(-9, 9, (2, 3, 3, 3))
    windows = 6 * 4 * 27 * 4
    calls = []
    exact = ops.dot

    def dot(vectors, *arguments):
        calls.append(len(vectors))
        return exact(vectors, *arguments)

    monkeypatch.setattr(ops, "WINDOWS_BYTES", 5 * windows)
    expected = ops.convolve(values, weights, 1, 5000)
    monkeypatch.setattr(ops, "dot", dot)
    monkeypatch.setattr(ops, "WINDOWS_BYTES", held * windows)
    np.testing.assert_array_equal(ops.convolve(values, weights, 1, 5000), expected, strict=True)
    assert calls == {0: [1] * 5, 1: [1] * 5, 2: [2, 2, 1], 4: [4, 1], 5: [5], 100: [5]}[held]


def test_weights_that_are_floats_already() -> None:
    """What a Model prepares gives the same sums."""
    rng = np.random.default_rng(1)
    values, weights = rng.integers(-9, 9, (2, 6, 4, 3)), rng.integers(-9, 9, (2, 3, 3, 3))
    for bound in (5000, 1 << 30):
        ready = weights.astype(ops.float_type(bound))
        assert (ops.convolve(values, ready, 2, bound) == ops.convolve(values, weights, 2, bound)).all()


def test_sum_conv_by_hand() -> None:
    """A 1x1 kernel is a matrix, a 3x3 kernel on a single pixel its centre."""
    values = [[[10, -20]]]
    weights = [[[[3, -1]]], [[[-3, 1]]]]
    assert plain.sum_conv(values, weights, [0, 7], 1, 2) == [[[50, -43]]]
    assert ops.sum_conv(np.array([values]), np.array(weights), np.array([0, 7]), 1, 1 << 20).tolist() == [[[[50, -43]]]]
    kernel = np.arange(-9, 9, 2).reshape(1, 3, 3, 1)
    assert ops.sum_conv(np.array([[[[2]]]]), kernel, np.array([1]), 1, 100).tolist() == [[[[-1]]]]
    assert plain.sum_conv([[[2]]], kernel.tolist(), [1], 1, 4) == [[[-1]]]


@given(SEEDS, st.sampled_from([1, 3, 5, 7]), st.integers(1, 15), st.sampled_from([4, 9, 16, 24]))
@PROPERTY
def test_sum_conv(seed, kernel, planes, width) -> None:
    rng = np.random.default_rng(seed)
    shape, stride = map_shape(rng), int(rng.integers(1, 3))
    values = numbers(rng, *ops.value_range(width), shape)
    weights = odd_numbers(rng, planes, (int(rng.integers(1, 4)), kernel, kernel, shape[2]))
    bias = numbers(rng, -(1 << 20), 1 << 20, len(weights))
    bound = int((np.abs(weights).sum(axis=(1, 2, 3)) << (width - 1)).max())
    fast = ops.sum_conv(values[None], weights, bias, stride, bound)
    slow = plain.sum_conv(values.tolist(), weights.tolist(), bias.tolist(), stride, planes)
    assert_same(fast, slow)


@given(SEEDS)
@PROPERTY
def test_planes_of_one_bit_are_the_binary_convolution(seed) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, map_shape(rng))
    weights = rng.integers(0, 2, (3, 3, 3, bits.shape[2]))
    signs = (2 * bits - 1).tolist()
    assert plain.sum_conv(signs, (2 * weights - 1).tolist(), [0, 0, 0], 1, 1) == plain.xnor_conv(
        bits.tolist(), weights.tolist(), 1
    )


@pytest.mark.parametrize("exact", [ops.EXACT_FLOAT32, ops.EXACT_FLOAT64])
def test_dot_is_exact_up_to_its_bounds(exact) -> None:
    """The greatest odd sums of each type's range; float32 would round the sums just beyond its own."""
    for total in (exact - 1, exact - 3):
        vectors = np.array([[total - 1, 1], [-total + 1, -1]], np.int64)
        assert ops.dot(vectors, np.array([[1, 1], [-1, -1]]), total).tolist() == [[total, -total], [-total, total]]


def test_dot_leaves_float32_before_it_rounds() -> None:
    total = ops.EXACT_FLOAT32 + 1
    assert int(np.float32(total)) != total
    assert ops.dot(np.array([[total - 1, 1]]), np.array([[1, 1]]), total).tolist() == [[total]]
    # Terms that cancel: the sum is small, but a partial sum may be odd and beyond 2**24, as the bound says.
    vector = np.array([[1 << 24, 1, -(1 << 24)]])
    assert ops.dot(vector, np.ones((1, 3), np.int64), (1 << 25) + 1).tolist() == [[1]]


@pytest.mark.parametrize(("bound", "kind"), [((1 << 31) - 1, np.int32), (1 << 31, np.int64), (1 << 40, np.int64)])
def test_dot_returns_the_type_that_holds_its_bound(bound, kind) -> None:
    for sign in (1, -1):
        sums = ops.dot(np.array([[sign * bound]]), np.array([[1]]), bound)
        assert (sums.dtype, sums.tolist()) == (kind, [[sign * bound]])


@pytest.mark.parametrize("bound", [1 << 53, 1 << 60])
def test_dot_refuses_what_float64_cannot_hold(bound) -> None:
    with pytest.raises(ValueError, match=f"{bound} are not exact"):
        ops.dot(np.array([[1]]), np.array([[1]]), bound)


def test_dot_on_many_random_sums() -> None:
    """Long fan-ins against int64 arithmetic, on both sides of the float32 limit."""
    rng = np.random.default_rng(5)
    for width in (8, 16, 24):
        vectors = numbers(rng, *ops.value_range(width), (50, 4, 4, 600))
        weights = odd_numbers(rng, 8, (16, 600))
        bound = int((np.abs(weights).sum(axis=1) << (width - 1)).max())
        expected = np.einsum("...d,cd->...c", vectors, weights)
        np.testing.assert_array_equal(ops.dot(vectors, weights, bound), expected)


def test_scale_by_hand() -> None:
    """5/4 - 1/2 of 10 and -10: 7.5 is floored; the second channel is -2, the third has no term at all."""
    sums = [[[10, 10, 10], [-10, -10, -10]]]
    sign, shift = [[1, 1, -1], [-1, 0, 0], [0, 0, 0]], [[2, 0, 1], [3, 5, 0], [0, 0, 0]]
    expected = [[[7, -20, 0], [-8, 20, 0]]]
    assert plain.scale(sums, sign, shift, 2, 16) == expected
    assert plain.scale(sums, sign, shift, 2) == expected
    assert ops.scale(np.array([sums]), np.array(sign), np.array(shift), 2, 16).tolist() == [expected]
    assert ops.scale(np.array([sums]), np.array(sign), np.array(shift), 2, 5).tolist() == [[[[7, -16, 0], [-8, 15, 0]]]]


@given(SEEDS, st.integers(1, 4), st.integers(0, 12), st.sampled_from([4, 8, 16, 24]))
@PROPERTY
def test_scale(seed, terms, guard, width) -> None:
    rng = np.random.default_rng(seed)
    shape = map_shape(rng)
    sums = numbers(rng, -(1 << 20), 1 << 20, shape)
    sign, shift = rng.integers(-1, 2, (shape[2], terms)), numbers(rng, 0, 14, (shape[2], terms))
    # The file's types: int8 and uint8 must not narrow the sums.
    fast = ops.scale(sums[None].astype(np.int32), sign.astype(np.int8), shift.astype(np.uint8), guard, width)
    slow = plain.scale(sums.tolist(), sign.tolist(), shift.tolist(), guard, width)
    assert_same(fast, slow)
    low, high = ops.value_range(width)
    assert low <= fast.min() <= fast.max() <= high
    wide = ops.scale(sums[None], sign, shift, guard, 60)
    assert_same(wide, plain.scale(sums.tolist(), sign.tolist(), shift.tolist(), guard))


@pytest.mark.parametrize(
    ("sums", "shift", "total"), [(-1, 31, -(1 << 31)), (1, 30, 1 << 30), (-(1 << 15), 16, -(1 << 31))]
)
def test_scale_to_the_last_of_32_bits(sums, shift, total) -> None:
    result = ops.scale(np.array([[sums]]), np.array([[1]]), np.array([[shift]]), 0, 40, bits=32)
    assert (result.dtype, result.tolist()) == (np.int32, [[total]])


@given(SEEDS, st.integers(1, 4), st.sampled_from([4, 9, 16]))
@PROPERTY
def test_narrow_and_wide_are_the_same(seed, terms, width) -> None:
    """Where every number fits 32 bits, computing in 32 gives what 64 give."""
    rng = np.random.default_rng(seed)
    shape = map_shape(rng)
    sums = numbers(rng, -(1 << 14), 1 << 14, shape)[None]
    sign, shift = rng.integers(-1, 2, (shape[2], terms)), numbers(rng, 0, 14, (shape[2], terms))
    for function in (ops.scale, ops.prelu):
        narrow, wide = (function(sums, sign, shift, 6, width, bits=bits) for bits in (32, 64))
        assert (narrow.dtype, wide.dtype) == (np.int32, np.int64)
        np.testing.assert_array_equal(narrow, wide)
    fields = qprelu_fields(rng, shape[2], width)
    narrow, wide = (ops.qprelu(sums, *fields, width, bits=bits) for bits in (32, 64))
    assert (narrow.dtype, wide.dtype) == (np.int32, np.int64)
    np.testing.assert_array_equal(narrow, wide)


def test_add_by_hand() -> None:
    assert plain.add([[[1, -2]], [[3, 4]]], [[[10, 20]], [[-30, 40]]]) == [[[11, 18]], [[-27, 44]]]


def qprelu_fields(rng, channels, width):
    low, high = ops.value_range(width)
    threshold, positive, before, after = numbers(rng, low, high, (4, channels))
    return threshold, positive, before, numbers(rng, -19, 7, channels), after


@pytest.mark.parametrize(
    ("value", "fields", "expected"),
    [
        (0, (0, 5, 0, -3, 9), 5),  # the threshold itself is on the positive side
        (-1, (0, 5, 0, -3, 9), 8),  # -1 >> 3 = -1
        (-16, (0, 5, 4, -2, 1), -2),  # (-16 + 4) / 4 + 1
        (-3, (0, 0, 0, 7, 0), -128),  # -384 saturates below
        (-3, (0, 0, 0, 2, 0), -12),
        (120, (0, 20, 0, 0, 0), 127),  # saturates above
        (-100, (-50, 0, 110, 4, 0), 127),  # a slope side can saturate above as well
        (-128, (0, 0, 0, -19, 3), 2),
        (-5, (0, 0, 0, 0, 0), -5),
    ],
)
def test_qprelu_by_hand(value, fields, expected) -> None:
    arrays = [np.array([field]) for field in fields]
    assert ops.qprelu(np.array([[[[value]]]]), *arrays, 8).tolist() == [[[[expected]]]]
    assert plain.qprelu([[[value]]], *([field] for field in fields), 8) == [[[expected]]]


@given(SEEDS, st.sampled_from([8, 16, 24]))
@PROPERTY
def test_qprelu(seed, width) -> None:
    rng = np.random.default_rng(seed)
    shape = map_shape(rng)
    sums = numbers(rng, *ops.value_range(width + 2), shape)
    fields = qprelu_fields(rng, shape[2], width)
    types = (np.int32, np.int32, np.int32, np.int8, np.int32)
    fast = ops.qprelu(sums[None], *(f.astype(t) for f, t in zip(fields, types, strict=True)), width)
    assert_same(fast, plain.qprelu(sums.tolist(), *(field.tolist() for field in fields), width))
    assert ops.value_range(width)[0] <= fast.min() <= fast.max() <= ops.value_range(width)[1]


@given(st.integers(-500, 500), st.integers(-50, 50), st.integers(-50, 50), st.integers(-8, 3))
@PROPERTY
def test_qprelu_covers_the_official_code_and_the_paper(value, first, second, power) -> None:
    """Code: biases on both sides. Paper, Eq. 8: both biases on the negative side only."""
    z = value + first
    code = z + second if z >= 0 else int(np.floor(z * 2.0**power)) + second
    paper = value if value >= 0 else int(np.floor((value + first) * 2.0**power)) + second
    for fields, expected in (
        ((-first, first + second, first, power, second), code),
        ((0, 0, first, power, second), paper),
    ):
        assert ops.qprelu(np.array([value]), *(np.array([field]) for field in fields), 24).tolist() == [expected]


@pytest.mark.parametrize(
    ("value", "terms", "guard", "expected"),
    [
        (5, [(1, 0)], 2, 5),  # positive values pass, whatever the slope
        (0, [(-1, 6)], 0, 0),
        (-5, [(1, 0)], 2, -2),  # a quarter, rounded down
        (-5, [(1, 1), (-1, 0)], 3, -1),  # 1/8
        (-5, [(-1, 0)], 1, 2),  # a negative slope makes it positive: 2.5 rounded down
        (-5, [(0, 0), (0, 3)], 1, 0),
        (-5, [(1, 5)], 0, -128),  # -160 saturates below
        (-5, [(-1, 5)], 0, 127),
        (200, [(1, 0)], 0, 127),  # values that pass saturate as well
        (-200, [(1, 0)], 0, -128),
    ],
)
def test_prelu_by_hand(value, terms, guard, expected) -> None:
    sign, shift = ([[term[part] for term in terms]] for part in (0, 1))
    assert plain.prelu([[[value]]], sign, shift, guard, 8) == [[[expected]]]
    assert ops.prelu(np.array([[[[value]]]]), np.array(sign), np.array(shift), guard, 8).tolist() == [[[[expected]]]]


@given(SEEDS, st.integers(1, 4), st.integers(0, 12), st.sampled_from([4, 8, 16, 24]))
@PROPERTY
def test_prelu(seed, terms, guard, width) -> None:
    rng = np.random.default_rng(seed)
    shape = map_shape(rng)
    values = numbers(rng, *ops.value_range(width + 2), shape)
    sign, shift = rng.integers(-1, 2, (shape[2], terms)), numbers(rng, 0, 14, (shape[2], terms))
    low, high = ops.value_range(width)

    def expected(value, channel):
        slope = sum(
            Fraction(int(s) * 2 ** int(k), 2**guard) for s, k in zip(sign[channel], shift[channel], strict=True)
        )
        return min(max(value if value >= 0 else floor(slope * value), low), high)

    wanted = [[[expected(v, c) for c, v in enumerate(pixel)] for pixel in row] for row in values.tolist()]
    # The file's types: int8 and uint8 must not narrow the values.
    assert_same(
        ops.prelu(values[None].astype(np.int32), sign.astype(np.int8), shift.astype(np.uint8), guard, width), wanted
    )
    assert plain.prelu(values.tolist(), sign.tolist(), shift.tolist(), guard, width) == wanted


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[5]], [[5]]),
        ([[-7, -9]], [[-7]]),  # padding never wins over negative values
        ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[5, 6], [8, 9]]),
        ([[9, 0, 0, 0], [0, 0, 0, 8], [0, 0, 0, 0], [0, 0, 0, 7]], [[9, 8], [0, 8]]),
        ([[0, 0, 0, -5, -1], [0, 0, 0, -3, -2]], [[0, 0, -1]]),
    ],
)
def test_max_pool_by_hand(values, expected) -> None:
    maps = [[[value] for value in row] for row in values]
    wanted = [[[value] for value in row] for row in expected]
    assert plain.max_pool(maps) == wanted
    assert ops.max_pool(np.array([maps])).tolist() == [wanted]


@given(SEEDS, st.sampled_from([np.int8, np.int16, np.int32, np.int64]))
@PROPERTY
def test_max_pool(seed, kind) -> None:
    """Over the pixels at most one row and column away from each second one, the type's ends among them."""
    rng = np.random.default_rng(seed)
    height, width, channels = map_shape(rng)
    values = numbers(rng, np.iinfo(kind).min, np.iinfo(kind).max, (height, width, channels)).astype(kind)
    expected = [
        [
            [
                max(
                    int(values[y, x, channel])
                    for y in range(height)
                    for x in range(width)
                    if abs(y - row) <= 1 and abs(x - column) <= 1
                )
                for channel in range(channels)
            ]
            for column in range(0, width, 2)
        ]
        for row in range(0, height, 2)
    ]
    fast = ops.max_pool(values[None])
    assert fast.dtype == kind
    assert_same(fast, expected)
    assert plain.max_pool(values.tolist()) == expected


@given(SEEDS)
@PROPERTY
def test_subsample(seed) -> None:
    rng = np.random.default_rng(seed)
    height, width, channels = map_shape(rng)
    values = rng.integers(-99, 99, (height, width, channels))
    expected = [[values[row, column].tolist() for column in range(0, width, 2)] for row in range(0, height, 2)]
    assert_same(ops.subsample(values[None]), expected)
    assert plain.subsample(values.tolist()) == expected


def test_plain_repeat_by_hand() -> None:
    assert plain.repeat([[[1, 2], [3, 4]]]) == [[[1, 2, 1, 2], [3, 4, 3, 4]]]


def test_pool_by_hand() -> None:
    values = [[[1, -1], [2, -1]], [[3, -1], [5, -2]]]
    assert plain.pool(values) == [[[2, -2]]]
    assert ops.pool(np.array([values])).tolist() == [[[[2, -2]]]]


@given(SEEDS, st.sampled_from([8, 16, 24]))
@PROPERTY
def test_pool(seed, width) -> None:
    rng = np.random.default_rng(seed)
    height, columns, channels = map_shape(rng)
    values = numbers(rng, *ops.value_range(width), (2 * height, 2 * columns, channels)).astype(np.int32)
    assert_same(ops.pool(values[None]), plain.pool(values.tolist()))


@pytest.mark.parametrize("shape", [(3, 2, 1), (2, 3, 1), (3, 1, 2), (1, 1, 1)])
def test_pool_refuses_an_odd_map(shape) -> None:
    values = np.ones(shape, np.int64)
    with pytest.raises(ValueError, match="reshape"):
        ops.pool(values[None])
    with pytest.raises(ValueError, match="shorter"):
        plain.pool(values.tolist())


@given(SEEDS, st.integers(0, 6), st.sampled_from([8, 16, 24]))
@PROPERTY
def test_gap(seed, shift, width) -> None:
    rng = np.random.default_rng(seed)
    values = numbers(rng, *ops.value_range(width), map_shape(rng)).astype(np.int32)
    assert_same(ops.gap(values[None], shift), plain.gap(values.tolist(), shift))


def test_gap_by_hand() -> None:
    values = [[[1, -1], [2, -1]], [[3, -1], [5, 0]]]
    assert plain.gap(values, 1) == [5, -2]
    assert ops.gap(np.array([values]), 1).tolist() == [[5, -2]]


@pytest.mark.parametrize(
    ("scores", "index"), [([3], 0), ([1, 2, 3], 2), ([5, 2, 5], 0), ([-7, -3, -3, -9], 1), ([0, 0, 0], 0)]
)
def test_argmax_by_hand(scores, index) -> None:
    assert plain.argmax(scores) == index
    assert ops.argmax(np.array([scores])).tolist() == [index]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
@PROPERTY
def test_argmax(scores) -> None:
    assert ops.argmax(np.array([scores])).tolist() == [plain.argmax(scores)]


@given(SEEDS)
@PROPERTY
def test_a_batch_is_its_images(seed) -> None:
    """Images do not reach into one another: every map operation on a batch of three gives each alone."""
    rng = np.random.default_rng(seed)
    values = numbers(rng, -300, 300, (3, 4, 6, 2))
    bits = rng.integers(0, 2, values.shape, dtype=np.uint8)
    weights = rng.integers(0, 2, (3, 3, 3, 2), dtype=np.uint8)
    for operation, batch in (
        (ops.pool, values),
        (ops.max_pool, values),
        (ops.subsample, values),
        (lambda v: ops.gap(v, 2), values),
        (lambda b: ops.xnor_conv(b, weights, 2), bits),
        (lambda v: ops.sum_conv(v, 2 * weights.astype(int) - 1, np.array([1, 2, 3]), 1, 1 << 20), values),
    ):
        together = operation(batch)
        for index in range(3):
            np.testing.assert_array_equal(together[index], operation(batch[index : index + 1])[0])
