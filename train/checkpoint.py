"""Float checkpoints: ours ({"state": ..., "metadata": ...}) and official bare state dicts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from golden.files import replacing

PREFIX = "module."  # what DataParallel puts before every official key


def write_atomically(path: Path, content: object) -> None:
    """torch.save to a neighbour of `path`, then rename: a reader never sees half a file."""
    with replacing(path) as temporary:
        torch.save(content, temporary)


def save(path: str | Path, model: torch.nn.Module, metadata: Mapping[str, Any]) -> None:
    """Writes the parameters of `model` and `metadata` (numbers, strings, lists, dicts) to `path`."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_atomically(Path(path), {"state": state, "metadata": dict(metadata)})


def load_file(path: str | Path) -> Any:
    """torch.load of plain data: no code of the file runs. Raises ValueError with one line that names the file."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated zips, foreign globals and junk each raise something else
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if "GLOBAL" in str(error) or "Unsupported" in str(error):
            reason = "it holds more than tensors and plain data, and is not run"
        raise ValueError(f"{path}: not a checkpoint: {reason}") from None


def read(path: str | Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """The parameters of a checkpoint by official key, without "module.", and its metadata (empty if it has none).

    Raises ValueError with one line that names the file and what is wrong.
    """
    content = load_file(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not a dict of tensors")
    metadata: Any = {}
    state: Any = content
    if "state" in content and "metadata" in content:
        state, metadata = content["state"], content["metadata"]
        if not isinstance(state, dict) or not isinstance(metadata, dict):
            raise ValueError(f'{path}: "state" and "metadata" must both be dicts')
    if not state:
        raise ValueError(f"{path}: holds no tensors")
    arrays: dict[str, NDArray[np.float32]] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f"{path}: {key!r} is a {type(value).__name__}, not a tensor under a name")
        if not value.is_floating_point():
            raise ValueError(f"{path}: {key} is {value.dtype}, not floating point")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{path}: {key} holds a value that is not finite")
        name = key.removeprefix(PREFIX)
        if name in arrays:
            raise ValueError(f"{path}: {name} is there twice, with and without {PREFIX!r}")
        arrays[name] = value.detach().to(torch.float32).contiguous().numpy()
    return arrays, metadata
