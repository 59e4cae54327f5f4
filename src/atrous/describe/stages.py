"""Group the blocks of a network into stages and the parts of the head, for the drawings."""

from __future__ import annotations

from dataclasses import dataclass

from .summary import Block, Layer, Summary

HEADS = {
    "aspp": "ASPP",
    "aspp_s": "ASPP-S",
    "largefov": "LargeFOV",
    "conv1x1": "1x1 scores",
    "aspp_concat": "ASPP, concatenated",
}
WORDS = {
    "BasicBlock": "basic block",
    "Bottleneck": "bottleneck",
    "InvertedResidual": "inv. residual",
    "ImagePooling": "image pooling",
}

# Fill of a layer by its dilation; higher rates have darker colours.
FILLS = {1: "#a9c6e3", 2: "#f6c36b", 4: "#ec8a5e"}
WIDEST_FILL = "#d8574a"
BRANCH_FILL = "#c9bde6"
POOL_FILL = "#dfe5ea"
MAP_FILL = "#bfe0c5"


@dataclass(frozen=True)
class Stage:
    """Consecutive blocks of one output shape: a stage of a ResNet, equal convolutions of VGG.

    Attributes:
        name: Name in the network, without `backbone.`.
        kind: Number and kind of the blocks, e.g. `23 bottlenecks`.
        output: Channels, rows and columns of the output.
        stride: Input pixels between neighbouring output positions.
        dilation: Dilation of the last block.
        blocks: The blocks.
    """

    name: str
    kind: str
    output: tuple[int, int, int]
    stride: int | None
    dilation: int
    blocks: tuple[Block, ...]

    @property
    def is_pool(self) -> bool:
        return "pool" in self.kind

    @property
    def fill(self) -> str:
        return POOL_FILL if self.is_pool else FILLS.get(self.dilation, WIDEST_FILL)


@dataclass(frozen=True)
class Head:
    """The parts of a head.

    Attributes:
        before: Blocks before the branches.
        branches: Parallel blocks on the same features.
        is_concatenated: Whether the branches are concatenated; otherwise they are summed.
        after: Blocks after the sum or concatenation.
    """

    before: tuple[Block, ...]
    branches: tuple[Block, ...]
    is_concatenated: bool
    after: tuple[Block, ...]


def backbone_stages(summary: Summary) -> list[Stage]:
    """Group the blocks of the backbone into stages."""
    stages: list[list[Block]] = []
    for block in summary.blocks:
        if not block.name.startswith("backbone."):
            continue
        if stages and _is_same_stage(stages[-1][-1], block):
            stages[-1].append(block)
        else:
            stages.append([block])
    return [_stage(blocks) for blocks in stages]


def head_parts(summary: Summary) -> Head:
    """Split the head into the blocks before, in and after its branches."""
    blocks = [block for block in summary.blocks if block.name.startswith("head.")]
    parallel = [
        block
        for block in blocks
        if block.container == "head.branches" or block.name in ("head.pointwise", "head.pooling")
    ]
    first, last = blocks.index(parallel[0]), blocks.index(parallel[-1])
    after = tuple(blocks[last + 1 :])
    return Head(tuple(blocks[:first]), tuple(parallel), bool(after), after)


def single_blocks(block: Block) -> list[tuple[Layer, ...]]:
    """Return the layers of each of the `count` equal blocks."""
    size = len(block.layers) // block.count
    return [block.layers[start : start + size] for start in range(0, len(block.layers), size)]


def words(kind: str, count: int = 1) -> str:
    """Return `23 bottlenecks` for 23 blocks of kind `Bottleneck`."""
    word = WORDS.get(kind, kind)
    if count == 1:
        return word
    return f"{count} {word}s" if kind in WORDS else f"{count} {word}"


def shape(output: tuple[int, int, int]) -> str:
    return "×".join(str(n) for n in output)


def _is_same_stage(last: Block, block: Block) -> bool:
    if len(block.layers) > 1 and block.kind in WORDS:
        return block.container == last.container
    is_conv = block.kind == last.kind and block.kind.startswith("conv")
    return is_conv and (block.output, block.dilation) == (last.output, last.dilation)


def _stage(blocks: list[Block]) -> Stage:
    first, last = blocks[0], blocks[-1]
    is_residual = first.kind in WORDS
    name = first.container if is_residual else first.name.partition(",")[0]
    name = name.removeprefix("backbone.")
    if not is_residual and len(blocks) > 1:
        name = f"{name}-{last.name[-1]}"
    return Stage(
        name=name,
        kind=words(first.kind, sum(block.count for block in blocks)),
        output=last.output,
        stride=last.stride,
        dilation=last.dilation,
        blocks=tuple(blocks),
    )
