"""Merges checkpoints with mergekit, a tensor or some of its rows at a time.

mergekit plans what is made of which tensors, and computes it, in float32. Tensors are read and
written here, so that the tables of a large vocabulary do not lie in memory several times.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path

import torch
from mergekit.architecture.json_definitions import NAME_TO_ARCH
from mergekit.common import ImmutableMap, ModelReference
from mergekit.io.lazy_tensor_loader import LazyTensorLoader, ShardedTensorIndex
from mergekit.io.tasks import LoaderCache, SaveTensor
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.options import MergeOptions as PlanOptions
from mergekit.plan import MergePlanner
from torch import Tensor

from tinyaya.export.bundle.staging import staged
from tinyaya.export.errors import MergeError, TargetError
from tinyaya.export.merge.configuration import Configuration, one_line
from tinyaya.export.merge.magnitude import LargestDifferences
from tinyaya.export.source.checkpoint import Checkpoint, open_checkpoint
from tinyaya.export.source.hub import INDEX_FILE, SIDE_FILES
from tinyaya.export.source.shards import write_shards
from tinyaya.export.source.weights import FLOAT_DTYPES, StoredTensor
from tinyaya.export.system.allocator import map_large_blocks
from tinyaya.runtime.hub.ids import read_id
from tinyaya.runtime.progress import Progress, Silent

CONFIGURATION_FILE = "mergekit_config.yml"  # as mergekit calls it
_ARCHITECTURES = {"cohere2": "Cohere2ForCausalLM", "cohere": "CohereForCausalLM"}
_KINDS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_BLOCK_VALUES = 1 << 25  # of each checkpoint that are in memory at a time
# Methods that make each value of the same value of all checkpoints alone, so that rows may be
# merged apart: `ties` once the largest differences are found. The scale by which `dare` makes up
# for what it drops is then that of the rows.
_BY_VALUE = ("linear", "passthrough", "task_arithmetic", "ties", "dare_linear", "dare_ties")

Sources = Mapping[ModelReference, Checkpoint]


def merge_checkpoints(
    configuration: Configuration,
    out: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> Checkpoint:
    """Write the merged checkpoint to the folder `out`, which appears when it is whole.

    Raises CheckpointError, MergeError or TargetError; `out` is then as it was before.
    """
    map_large_blocks()
    progress = progress or Silent()
    sources = _opened(configuration, progress)
    first = sources[configuration.first]
    kind, tasks = _kind(configuration, first), _plan(configuration, sources)
    with staged(out, force=force, mark=CONFIGURATION_FILE) as folder, torch.random.fork_rng():
        _check_room(folder, first, kind)
        torch.manual_seed(0)  # for `dare`, which draws what it drops
        advance = progress.stage("merge", len(first.names))

        def blocks(name: str) -> Iterator[Tensor]:
            for block in _merged(tasks[name], sources):
                if not torch.isfinite(block.to(FLOAT_DTYPES[kind])).all():
                    raise MergeError(f"{name} gets values that are not finite; change the weights")
                yield block
            advance()

        write_shards(folder, first.shapes, kind, blocks)
        for source in sources.values():
            source.check_unchanged()
        _write_side_files(folder, first, sources[configuration.tokenizer], kind)
        (folder / CONFIGURATION_FILE).write_text(configuration.text, encoding="utf-8")
        open_checkpoint(folder)  # with all its checks
    return open_checkpoint(out)


def _opened(configuration: Configuration, progress: Progress) -> dict[ModelReference, Checkpoint]:
    """All checkpoints, of one shape and vocabulary."""
    sources = {model: _open(model, progress) for model in configuration.models}
    for other in sources.values():
        _check_same(sources[configuration.first], other)
    return sources


def _open(model: ModelReference, progress: Progress) -> Checkpoint:
    source = str(model.model)
    if model.lora or (model.model.revision and read_id(source) is None):
        raise MergeError(
            f"{model}: expected a whole checkpoint: a folder without + and @ in its path, or "
            "ORG/NAME[@REVISION]"
        )
    return open_checkpoint(source, progress)


def _check_same(first: Checkpoint, other: Checkpoint) -> None:
    """Refuse checkpoints that compute something else, or whose ids mean other tokens."""
    for key, mine in vars(first.config).items():
        if key != "max_context" and (found := getattr(other.config, key)) != mine:
            raise MergeError(
                f"{other.folder} has {key} {found}, {first.folder} has {mine}; "
                "expected checkpoints of one shape"
            )
    ids, others = _token_ids(first), _token_ids(other)
    if ids != others:
        token = min(token for token, _ in ids.items() ^ others.items())
        raise MergeError(
            f"{other.folder} and {first.folder} have other vocabularies, such as {token!r} with id "
            f"{others.get(token)} and {ids.get(token)}; expected checkpoints of one tokenizer"
        )


def _token_ids(checkpoint: Checkpoint) -> dict[str, int]:
    definition = checkpoint.tokenizer.definition
    added = {row["content"]: row["id"] for row in definition["added_tokens"]}
    return {**definition["model"]["vocab"], **added}


def _kind(configuration: Configuration, first: Checkpoint) -> str:
    """The type that is written, as safetensors calls it; without a name, the first checkpoint's."""
    named = configuration.parsed.out_dtype or configuration.parsed.dtype
    kind = _KINDS.get(named or "", None if named else first.tensors[first.names[0]].kind)
    if kind is None:
        raise MergeError(f"dtype is {named!r}; known: {', '.join(_KINDS)}")
    return kind


def _check_room(folder: Path, first: Checkpoint, kind: str) -> None:
    needed = sum(map(prod, first.shapes.values())) * FLOAT_DTYPES[kind].itemsize
    if (free := shutil.disk_usage(folder).free) < needed:
        raise TargetError(
            f"the merge needs {needed / 1e9:.2f} GB on disk, {folder.parent} has "
            f"{free / 1e9:.2f} GB free; free space or choose another place"
        )


def _plan(configuration: Configuration, sources: Sources) -> dict[str, ExecuteMergeMethodTask]:
    """Name -> what mergekit does for it; raises MergeError for what it refuses."""
    first = sources[configuration.first]
    for model, source in sources.items():  # mergekit asks it which tensors there are
        index = ShardedTensorIndex(
            base_path="", is_safetensors=True, tensor_paths=dict.fromkeys(source.names), shards=[]
        )
        LoaderCache().loaders[model] = LazyTensorLoader(index)
    (architecture,) = NAME_TO_ARCH[_ARCHITECTURES[first.config.model_type]]
    try:
        planner = MergePlanner(
            configuration.parsed.model_copy(deep=True),
            architecture,
            PlanOptions(),
            configuration.first.config(),
        )
        planned = planner.plan_to_disk("")
        tasks = {row.tensor_name: row.tensor_task for row in planned if isinstance(row, SaveTensor)}
    except Exception as error:  # mergekit's checks raise all kinds
        raise MergeError(f"mergekit refuses it: {one_line(error)}") from error
    finally:
        LoaderCache().loaders.clear()
    # mergekit plans head norms for every Cohere model.
    names = {name for name in tasks if name in first.shapes or not name.endswith("_norm.weight")}
    if wrong := sorted(names ^ first.shapes.keys()):
        raise MergeError(
            f"the merge would have other layers than {first.folder} ({wrong[0]}); expected as many "
            "of each checkpoint"
        )
    return tasks


def _merged(task: ExecuteMergeMethodTask, sources: Sources) -> Iterator[Tensor]:
    """All values of a tensor of the merge, in blocks."""
    names = task.gather_tensors.weight_info
    tensors = {model: sources[model].tensors[info.name] for model, info in names.items()}
    shape = next(iter(tensors.values())).shape
    step = max(1, _BLOCK_VALUES // prod(shape[1:]))
    blocks = [range(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]
    if len(blocks) > 1 and task.method_name not in _BY_VALUE:
        whole = {model: _whole(tensor, blocks) for model, tensor in tensors.items()}
        yield from task.execute(whole).split(step)
        return
    if len(blocks) > 1 and task.method_name == "ties":
        task, tensors = _largest(task, tensors, blocks)
    for rows in blocks:
        yield task.execute({model: tensor.read(rows) for model, tensor in tensors.items()})


def _whole(tensor: StoredTensor, blocks: Sequence[range]) -> Tensor:
    """All of a tensor, as it is stored."""
    whole = torch.empty(tensor.shape, dtype=FLOAT_DTYPES[tensor.kind])
    for rows in blocks:
        whole[rows.start : rows.stop] = tensor.read(rows)
    return whole


def _largest(
    task: ExecuteMergeMethodTask,
    tensors: Mapping[ModelReference, StoredTensor],
    blocks: Sequence[range],
) -> tuple[ExecuteMergeMethodTask, dict[ModelReference, StoredTensor]]:
    """Tensors with their largest differences from the base alone, and a task that keeps these."""
    base, parameters = tensors[task.base_model], {}
    found = dict(tensors)
    for model, own in task.input_parameters.items():
        parameters[model] = ImmutableMap(data={**dict(own.items()), "density": 1.0})
        if model != task.base_model and own["density"] < 1:
            found[model] = LargestDifferences.of(tensors[model], base, own["density"], blocks)
    changed = {"input_parameters": ImmutableMap(data=parameters)}
    return task.model_copy(update=changed), found


def _write_side_files(folder: Path, first: Checkpoint, donor: Checkpoint, kind: str) -> None:
    """Copy config and tokenizer; the config names the type that was written."""
    for name in (*SIDE_FILES, "special_tokens_map.json"):
        source = (first if name == "config.json" else donor).folder / name
        if source.exists() and name != INDEX_FILE:
            shutil.copyfile(source, folder / name)
    path, dtype = folder / "config.json", str(FLOAT_DTYPES[kind]).removeprefix("torch.")
    raw = json.loads(path.read_text(encoding="utf-8"))
    changed = {key: dtype for key in ("dtype", "torch_dtype") if raw.get(key, dtype) != dtype}
    if changed:
        path.write_text(json.dumps({**raw, **changed}, indent=2), encoding="utf-8")
