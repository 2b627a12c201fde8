"""`outlay demo`: one screen about a real model; a part without an engine behind it is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from outlay.cli.options import Shared

# Llama 3.1 8B as its model card describes it: 15T tokens, 8k context, H100-80GB (Grattafiori et al. 2024).
SCENARIO: dict[str, Any] = {
    "name": "Llama 3.1 8B from scratch",
    "model": "llama-3.1-8b",
    "fleet": "1024xh100-sxm5-80gb",
    "site": "aws:us-east-1",
    "pretrain": {"tokens": "15T", "sequence_length": 8192},
}
PLACES = ("aws:eu-north-1", "aws:eu-west-3", "aws:ap-south-1")
LONGER = "30T"


@click.command(cls=Shared, name="demo", short_help="One screen: what a real model takes, from scratch.")
@click.option("--json", "opt_json", is_flag=True, help="The results behind the screen as JSON.")
@click.option("--md", "opt_md", is_flag=True, help="The screen as Markdown.")
@click.option("-o", "--output", "opt_output", metavar="FILE", help="Write there, whole or not at all.")
def command(**flags: Any) -> int:
    """What a real model takes, from scratch: compute, money, energy and environment.

    Plans Llama 3.1 8B on 15T tokens, then the same with longer training and in other places.
    """
    from outlay.cli.answer import check_outputs, form_of, to_json, write, write_blocks
    from outlay.report.demo import page

    check_outputs(flags)
    found = results()
    if form_of(flags) == "json":
        write(to_json(found) + "\n", flags)
    else:
        write_blocks(page(found), flags)
    return 0


def results() -> dict[str, Any]:
    """The plan itself, with longer training, and in other places; only the first searches its layout."""
    from outlay.api import plan
    from outlay.cli.progress import waiting
    from outlay.scenario_io import set_path

    with waiting("planning"):
        base = plan(SCENARIO).to_dict()
        settled = set_path(SCENARIO, "pretrain.layout", _given(base["pretrain"].get("layout") or {}))
        settled = set_path(settled, "pretrain.global_batch", base["scenario"]["pretrain"]["global_batch"])
        longer = plan(set_path(settled, "pretrain.tokens", LONGER)).to_dict()
        places = {place: plan(set_path(settled, "site", place)).to_dict() for place in PLACES}
    return {"base": base, "longer": longer, "places": places}


def _given(layout: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a chosen layout that a scenario takes."""
    from outlay.scenario import Layout

    return {k: v for k, v in layout.items() if k in Layout.__struct_fields__ and v is not None}
