"""What a search ranks by is what the account then says of its winner."""

from __future__ import annotations

from typing import Any

import pytest

import outlay

TOTALS = {"money": "usd", "energy": "energy_j", "carbon": "co2e_kg"}
SCENARIO: dict[str, Any] = {
    "model": "llama-3.1-8b", "site": {"location": "FR"},
    "fleet": {"device": "h100-sxm5-80gb", "devices": 8, "usd_per_device_hour": 2.5},
    "pretrain": {"tokens": "10B", "sequence_length": 4096, "global_batch": 64},
}


@pytest.mark.parametrize("aim", TOTALS)
def test_ranking_equals_the_accounts(aim: str) -> None:
    found = outlay.plan(SCENARIO | {"goal": {"minimize": aim, "top": 3}}).to_dict()
    ranked = found["pretrain"]["search"]["best"]
    assert found["pretrain"]["search"]["minimize"] == aim
    totals = []
    for choice in ranked:
        fixed = SCENARIO | {"pretrain": SCENARIO["pretrain"] | {"layout": choice["layout"]}}
        totals.append(outlay.plan(fixed).to_dict()["totals"][TOTALS[aim]]["value"])
    assert totals[0] == pytest.approx(found["totals"][TOTALS[aim]]["value"])
    assert totals == sorted(totals)
    values = [choice["value"] for choice in ranked]
    ratios = [total / value for total, value in zip(totals, values, strict=True)]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=0.02)  # evaluation and checkpoints beside steps
