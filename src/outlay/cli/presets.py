"""`--preset`: the list of ready-made scenarios, and a copy of one that keeps the reasons beside its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def show_list(flags: Mapping[str, Any]) -> int:
    """What presets there are, from the smallest purse to the largest."""
    from outlay.cli.answer import check_outputs, form_of, to_json, write, write_blocks
    from outlay.readers.presets import presets
    from outlay.report.blocks import Block, Commands, Table, Verdict

    check_outputs(flags)
    if form_of(flags) == "json":
        write(to_json([{"name": p.name, "about": p.about, "scenario": p.scenario} for p in presets()]) + "\n", flags)
        return 0
    blocks: list[Block] = [Verdict("Ready-made scenarios, from the smallest purse to the largest", "plain")]
    blocks += [Table("", ("name", "what it is"), tuple((p.name, p.about) for p in presets()),
                     text_columns=frozenset({0, 1}))]
    blocks += [Commands(("outlay life --preset student", "outlay life --preset student --save my-plan.yaml"))]
    write_blocks(blocks, flags)
    return 0


def save_as_it_is(document: Mapping[str, Any], flags: Mapping[str, Any]) -> bool:
    """Whether the scenario is an unchanged preset and its file was copied, comments and all; else said and False."""
    from pathlib import Path

    from outlay.cli.shell import say, whole_file
    from outlay.readers.presets import preset

    if not flags.get("preset"):
        return False
    path, found = str(flags["opt_save"]), preset(flags["preset"])
    if Path(path).suffix.lower() in (".json", ".toml"):
        return False
    if document != found.scenario:
        say(f"note: flags changed the preset, so its comments are left out of {path}")
        return False
    with whole_file(path, "--save") as stream:
        stream.write(found.text)
    say(f"saved {path}")
    return True
