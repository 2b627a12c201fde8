"""Blocks as Markdown, for an issue, a proposal or a notebook."""

from __future__ import annotations

from collections.abc import Sequence

from outlay.report.blocks import Block, Bullets, Commands, Note, Pair, Table, Verdict


def render(blocks: Sequence[Block]) -> str:
    """The blocks as one Markdown document."""
    return "\n\n".join(part for part in map(_one, blocks) if part) + "\n"


def _one(block: Block) -> str:
    if isinstance(block, Verdict):
        return "\n\n".join([f"**{_safe(block.text)}**", *map(_safe, block.details)])
    if isinstance(block, Bullets):
        return f"### {_safe(block.title)}\n\n" + "\n".join(
            f"- `{item}`" if i in block.commands else f"- {_safe(item)}" for i, item in enumerate(block.items))
    if isinstance(block, Pair):
        return _table(block.left) + "\n\n" + _table(block.right)
    if isinstance(block, Note):
        return f"*{_safe(block.text)}*"
    if isinstance(block, Commands):
        return "```console\n" + "\n".join(f"$ {c}" for c in block.items) + "\n```" if block.items else ""
    return _table(block)


def _table(block: Table) -> str:
    ruler = ["---" if i in block.text_columns else "---:" for i in range(len(block.head))]
    lines = [_row(block.head), _row(ruler)]
    for i, row in enumerate(block.rows):
        lines.append(_row([f"**{cell}**" if cell else cell for cell in row] if i == block.mark else row))
    if block.total:
        lines.append(_row([f"**{cell}**" if cell else cell for cell in block.total]))
    if block.below:
        lines.append(_row(block.below))
    return (f"### {_safe(block.title)}\n\n" if block.title else "") + "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_safe(cell).replace("|", "\\|") for cell in cells) + " |"


def _safe(text: str) -> str:
    return text.replace("<", "&lt;").replace("\n", " ")
