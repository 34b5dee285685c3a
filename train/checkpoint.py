"""Float checkpoints: ours ({"state": ..., "metadata": ...}) and official bare state dicts.

Both hold the tensors in the official spelling (`train.tensors`). Our metadata are `network`, `image` (side in pixels),
`stem_stride`, the fields of `train.variant.Variant`, and what is worth knowing of the training.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from abbnn.errors import UserError
from abbnn.golden.files import readable, replacing, what_is
from abbnn.golden.structure import Structure
from abbnn.train.tensors import NORM_STATISTICS, Tensors, infer_structure, to_canonical, to_official
from abbnn.train.variant import Variant

HDF5 = b"\x89HDF\r\n\x1a\n"
TORCH = (b"PK", b"\x80")  # a zip of today's, a pickle of old
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
"""What DataParallel, torch.compile, SWA and Lightning put before every key, in any order."""
WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "network", "state_dict_ema", "model_ema", "ema")
"""Keys under which training scripts keep a state dict, from the likeliest on."""
COUNTER = "n_averaged"  # of SWA's averaged model, beside its parameters


class Checkpoint(NamedTuple):
    """A checked checkpoint: canonical float32 tensors of `structure`, used as `variant` says; metadata as in JSON."""

    structure: Structure
    variant: Variant
    tensors: Tensors
    metadata: dict[str, Any]


def write_atomically(path: Path, content: object) -> None:
    """torch.save to a neighbour of `path`, then rename: a reader never sees half a file. OSError names `path`."""
    try:
        # Of a path, torch would write the temporary name into the file: equal contents are to be equal bytes.
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # RuntimeError is what torch makes of a full disk
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise OSError(f"{path}: cannot be written: {reason}") from None


def save(
    path: str | Path, tensors: Mapping[str, NDArray[Any]], structure: Structure, metadata: Mapping[str, Any]
) -> None:
    """Writes canonical tensors and `metadata` (numbers, strings, lists, dicts); the geometry that shapes do not tell is
    added to them.
    """
    official = to_official(tensors, structure)
    geometry = {"network": structure.name, "image": structure.height, "stem_stride": structure.stem.stride}
    state = {name: torch.from_numpy(np.ascontiguousarray(tensor)) for name, tensor in official.items()}
    write_atomically(Path(path), {"state": state, "metadata": geometry | dict(metadata)})


def load(
    path: str | Path,
    network: str,
    image: int | None = None,
    *,
    assumed_image: int | None = None,
    stem_stride: int | None = None,
) -> Checkpoint:
    """The checkpoint at `path`, which must be of the declared network `network`; an official one is of step Qaw.

    The image's side is `image`, else the one that the checkpoint states, else `assumed_image`, else what its stem and
    classes suggest (`train.tensors.infer_structure`); its stem's stride is found likewise. Raises ValueError with one
    line that names the file and the fault: those of `read`, and tensors that are missing, foreign, misshapen or of
    another network.
    """
    arrays, metadata = read(path)
    try:
        try:
            metadata = json.loads(json.dumps(metadata, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            raise UserError("its metadata hold more than finite numbers, texts, lists and objects") from None
        if metadata.get("network", network) != network:
            raise UserError(f"holds {metadata['network']}, not {network}")
        variant = Variant.from_metadata(metadata)
        side = image or _natural(metadata, "image") or assumed_image
        stride = stem_stride or _natural(metadata, "stem_stride")
        structure = infer_structure(arrays, network, image=side, stem_stride=stride)
        return Checkpoint(structure, variant, to_canonical(arrays, structure), metadata)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _natural(metadata: Mapping[str, Any], key: str) -> int | None:
    value = metadata.get(key)
    if value is not None and (type(value) is not int or value < 1):
        raise UserError(f"its metadata name {value!r} as {key}")
    return value


def load_file(path: str | Path) -> Any:
    """torch.load of plain data: no code of the file runs. Of a safetensors file, its tensors by name. Raises ValueError
    with one line that names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if what_is(path) == "a safetensors file":
        with readable(path, "safetensors file"):
            return load_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated zips, foreign globals and junk each raise something else
        raise UserError(f"{path}: not a checkpoint: {_fault(path, error)}") from None


def _fault(path: Path, error: Exception) -> str:
    """Why torch cannot load a file."""
    try:
        with path.open("rb") as file:
            start = file.read(len(HDF5))
    except OSError as refusal:
        return str(refusal.strerror)
    if not start:
        return "it is empty"
    if start == HDF5:
        return "it is an HDF5 file; an official .h5 is none, in spite of its name"
    if not start.startswith(TORCH):
        return "torch.save did not write it"
    if any(word in str(error) for word in ("GLOBAL", "Unsupported", "TorchScript")):
        return "it holds more than tensors and plain data, and is not run"
    if isinstance(error, (OSError, EOFError)) or "PytorchStreamReader" in str(error):
        return "it is truncated or damaged"
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class Entry(NamedTuple):
    """What a state dict holds under one key: `key` as the file spells it, `name` without `PREFIXES`; `array` or, if it
    cannot be taken, `fault` in words that name the key. What is no tensor has no shape, and its type as `dtype`.
    """

    key: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    array: NDArray[np.float32] | None
    fault: str = ""


def entries(path: str | Path) -> tuple[list[Entry], dict[str, Any]]:
    """All that the state dict of a checkpoint holds, in its order, and its metadata (empty if it has none).

    A state dict may lie under one of `WRAPPINGS`. Raises ValueError with one line that names the file if there is none.
    """
    content = load_file(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a dict of tensors")
    metadata: Any = {}
    if "state" in content and "metadata" in content:
        state, metadata = content["state"], content["metadata"]
        if not isinstance(state, dict) or not isinstance(metadata, dict):
            raise UserError(f'{path}: "state" and "metadata" must both be dicts')
    else:
        state = _unwrapped(content)
    if not state:
        raise UserError(f"{path}: holds no tensors")
    found: dict[str, Entry] = {}
    repeated = []
    for key, value in state.items():
        if key == COUNTER:
            continue
        entry = _entry(key, value)
        if entry.name in found:
            repeated.append(entry._replace(array=None, fault=f"{entry.name} is there twice, once as {entry.key}"))
        else:
            found[entry.name] = entry
    return [*found.values(), *repeated], metadata


def _entry(key: Any, value: Any) -> Entry:
    if not isinstance(key, str) or not isinstance(value, Tensor):
        kind = type(value).__name__
        return Entry(str(key), _bare(str(key)), (), kind, None, f"{key!r} is a {kind}, not a tensor under a name")
    entry = Entry(key, _bare(key), tuple(value.shape), str(value.dtype).removeprefix("torch."), None)
    if value.layout is not torch.strided or value.device.type != "cpu":
        return entry._replace(fault=f"{key} is no plain tensor")
    if not value.is_floating_point():
        return entry._replace(fault=f"{key} is {value.dtype}, not floating point")
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        return entry._replace(fault=f"{key} repeats its values: {value.numel()} of them are stored as fewer")
    array = value.detach().to(torch.float32).contiguous()
    if not bool(torch.isfinite(array).all()):
        return entry._replace(fault=f"{key} holds NaN or infinity")
    return entry._replace(array=array.numpy())


def read(path: str | Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """The parameters of a checkpoint by official key, without `PREFIXES`, and its metadata.

    Raises ValueError with one line that names the file and what is wrong.
    """
    found, metadata = entries(path)
    arrays: dict[str, NDArray[np.float32]] = {}
    for entry in found:
        if entry.name.rpartition(".")[2] in NORM_STATISTICS:
            raise UserError(f"{path}: {entry.key} is batch norm's, which abbnn import folds in (docs/import.md)")
        if entry.array is None:
            raise UserError(f"{path}: {entry.fault}")
        arrays[entry.name] = entry.array
    return arrays, metadata


def _unwrapped(content: dict[Any, Any]) -> dict[Any, Any]:
    """The state dict in what a training script saved, or `content` itself."""
    for key in WRAPPINGS:
        if isinstance(content.get(key), dict):
            return _unwrapped(content[key])
    return content


def _bare(key: str) -> str:
    """A key without its prefixes."""
    for prefix in PREFIXES:
        if key.startswith(prefix):
            return _bare(key.removeprefix(prefix))
    return key
