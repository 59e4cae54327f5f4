"""What torchrun starts twice in test_distributed.py: the runs of CASES, one after the other."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from atrous.training import Recipe, train
from atrous.training.recipe import recipe_from_table

BASE: dict[str, dict[str, Any]] = {
    "data": {"dataset": "folder", "workers": 0},
    "augment": {"crop_hw": (33, 33), "scales": (1.0,)},
    "network": {"name": "deeplabv2_resnet18", "head": "conv1x1"},
    "optimizer": {"learning_rate": 2e-6, "iterations": 2, "batch_size": 4, "accumulate": 1},
    "output": {"evaluate_every": 0, "checkpoint_every": 100, "log_every": 1},
}
# A sample of every batch of four is void alone, and the others have unequal shares of it.
CASES: dict[str, dict[str, Any]] = {
    "divided batches": {},
    "divided batches, accumulated": {"optimizer": {"batch_size": 2, "accumulate": 2}},
    "whole batches dealt out": {"optimizer": {"batch_size": 1, "accumulate": 4}},
    "synced batch norms": {
        "optimizer": {"freeze_bn": False, "sync_bn": True, "learning_rate": 1e-4}
    },
    "sequential scales": {
        "scales": (1.0, 0.75, 0.5),
        "loss": {"msc_backward": "sequential"},
    },
    "learned upsampling": {"network": {"upsampling": "transposed"}, "loss": {"at_pixels": True}},
    "checkpointed blocks": {"compute": {"grad_checkpointing": True}},
}


def config_of(case: str, tree: Path) -> Recipe:
    table: dict[str, Any] = {"name": "small", **{k: dict(v) for k, v in BASE.items()}}
    for key, values in CASES[case].items():
        table[key] = {**table.get(key, {}), **values} if isinstance(values, dict) else values
    table["data"]["root"] = str(tree)
    return recipe_from_table(table)


def main(tree: Path, output: Path) -> None:
    import torch.distributed as dist

    spec = importlib.util.spec_from_file_location("narrow", Path(__file__).parents[1] / "narrow.py")
    assert spec is not None
    assert spec.loader is not None
    narrow = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(narrow)
    dist.init_process_group("gloo")
    with narrow.narrow_network():
        for case in CASES:
            train(config_of(case, tree), output=output / case)
            dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
