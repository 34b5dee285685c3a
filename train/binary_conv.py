"""Convolutions of +-1 with +-1 on CPUs with AVX2: exact forward, gradients rounded at random to 8 bits.

`binary_conv.cpp` is compiled on first use and kept in the user's cache. It takes about a third of the time of float32
convolutions; a CPU with bfloat16 units does not need it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from abbnn.golden.files import replacing

SOURCE = Path(__file__).with_name("binary_conv.cpp")
FLAGS = ("-O3", "-mavx2", "-mfma", "-shared", "-fPIC")
CHANNELS_MAX = 512  # of which sums of 8-bit gradients over a tap stay within 16 bits
OUTS, IMAGES = 16, 4  # channels and images come in multiples of these


def compiler() -> str | None:
    """The C++ compiler, which `torch.compile` uses on a CPU as well, if there is one."""
    return shutil.which(os.environ.get("CXX", "g++"))


@cache
def available() -> bool:
    """Whether this machine can compile and run it."""
    return (
        platform.machine() in ("x86_64", "AMD64")
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        and compiler() is not None
    )


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution of images x (N, C, H, W) with weights (O, C, k, k) is one that it can do."""
    outs, channels, kernel = weight.shape[0], weight.shape[1], weight.shape[2]
    return (
        kernel == 3
        and x.shape[0] % IMAGES == 0
        and all(count % OUTS == 0 and count <= CHANNELS_MAX for count in (channels, outs))
        and x.device.type == "cpu"
    )


@cache
def _library() -> ctypes.CDLL:
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:16]
    cached = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "abbnn" / f"binary_conv-{key}.so"
    if not cached.exists():
        with replacing(cached) as temporary:
            command = [str(compiler()), *FLAGS, str(SOURCE), "-o", str(temporary)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise OSError(f"{SOURCE.name} does not compile: {done.stderr.strip().splitlines()[-1]}")
    return ctypes.CDLL(str(cached))


def _address(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.data_ptr())


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) as it lies in memory: (N, H, W, C)."""
    return x.permute(0, 2, 3, 1).contiguous()


def _out_shape(x: Tensor, weight: Tensor, stride: int) -> tuple[int, int, int, int]:
    return x.shape[0], weight.shape[0], (x.shape[2] - 1) // stride + 1, (x.shape[3] - 1) // stride + 1


def _empty(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _geometry(x: Tensor, weight: Tensor, stride: int) -> tuple[int, ...]:
    return x.shape[0], x.shape[2], x.shape[3], x.shape[1], weight.shape[0], stride


@torch.library.custom_op("abbnn::binary_conv", mutates_args=())
def binary_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """conv2d(x, weight, padding=1) of x (N, C, H, W) of +-1 and weights (O, C, 3, 3) of +-(one number a filter)."""
    out = _empty(x, _out_shape(x, weight, stride))
    rows, filters, factors = _rows(x), _rows(weight), weight[:, 0, 0, 0].abs().contiguous()
    _library().abbnn_forward(*map(_address, (rows, filters, factors)), *_geometry(x, weight, stride), _address(out))
    return out


@binary_conv.register_fake
def _(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    return _empty(x, _out_shape(x, weight, stride))


@torch.library.custom_op("abbnn::binary_conv_backward", mutates_args=())
def binary_conv_backward(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """The gradients of x and weight, from that of the result rounded to 8 bits: an image's, and an output's."""
    gradient_x, gradient_weight = _empty(x, tuple(x.shape)), _empty(x, tuple(weight.shape))
    geometry = _geometry(x, weight, stride)
    rows, filters, gradients = _rows(x), _rows(weight), _rows(gradient)
    factors = weight[:, 0, 0, 0].abs().contiguous()
    _library().abbnn_backward_x(*map(_address, (gradients, filters, factors)), *geometry, _address(gradient_x))
    _library().abbnn_backward_weights(*map(_address, (rows, gradients)), *geometry, _address(gradient_weight))
    return gradient_x, gradient_weight


@binary_conv_backward.register_fake
def _(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    return _empty(x, tuple(x.shape)), _empty(x, tuple(weight.shape))


def _setup(ctx: object, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
    x, weight, stride = inputs
    ctx.save_for_backward(x, weight)  # type: ignore[attr-defined]
    ctx.stride = stride  # type: ignore[attr-defined]


def _backward(ctx: object, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
    return *binary_conv_backward(gradient, x, weight, ctx.stride), None  # type: ignore[attr-defined]


binary_conv.register_autograd(_backward, setup_context=_setup)
