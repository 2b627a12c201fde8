"""What money allows: the ladder by real plans, compute-optimal sizes, a model's barrier, who holds the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from outlay import plan
from outlay.advise.afford import afford
from outlay.advise.afford_ask import Ask, settings
from outlay.advise.afford_fleets import Offer, Work, cheapest, counts, offers
from outlay.advise.barrier import barrier
from outlay.advise.field import field
from outlay.catalog import load
from outlay.cli.shell import run
from outlay.physics import scaling
from outlay.valuation.concentration import gini, hhi, shares

CARD = "1xrtx-4090"
# Hoffmann et al. 2022 (arXiv:2203.15556), Table 3: parameters, FLOP, tokens
TABLE_3 = ((0.4e9, 1.92e19, 8.0e9), (1e9, 1.21e20, 20.2e9), (10e9, 1.23e22, 205.1e9), (67e9, 5.76e23, 1.5e12),
           (175e9, 3.85e24, 3.7e12), (280e9, 9.90e24, 5.9e12), (520e9, 3.43e25, 11.0e12), (1e12, 1.27e26, 21.2e12),
           (10e12, 1.30e28, 216.2e12))
EXPONENT_ERROR = 1.2815515655446004 * 0.02  # Besiroglu et al. 2024: standard error of a, at the edge of 80 %


def law() -> dict[str, float]:
    known = load()
    return {n: float(known.find("default", f"scaling.{n}").value("value")) for n in ("a", "b", "alpha", "beta")}


@pytest.mark.parametrize(("size", "flop", "tokens"), TABLE_3)
def test_chinchillas_allocations_within_the_error_of_the_exponent(size: float, flop: float, tokens: float) -> None:
    """Counted from the row where both fits agree: a factor C^(error of a) and two digits of rounding."""
    allowed = max(flop / 1.23e22, 1.23e22 / flop) ** EXPONENT_ERROR * 1.03
    assert 1 / allowed < float(scaling.optimal_parameters(flop, **law())) / size < allowed
    assert 1 / allowed < float(scaling.optimal_tokens(flop, **law())) / tokens < allowed


def test_the_split_is_of_least_loss() -> None:
    constants = law()
    for flop in (1e19, 1e22, 1e25):
        best = float(scaling.optimal_parameters(flop, **constants))

        def at(size: float, flop: float = flop) -> float:
            return float(scaling.loss(size, flop / (6 * size), 1.8172, **constants))

        assert at(best) < min(at(0.98 * best), at(1.02 * best))


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    return afford(Ask(30.0, fleet=CARD, deadline_s=10 * 86400.0, tune_tokens=2e6, continue_tokens=2e7), load(), plan)


def test_every_rung_is_answered_in_order(small: dict[str, Any]) -> None:
    rungs = small["rungs"]
    assert [r["rung"] for r in rungs] == ["api-call", "api-finetune", "lora", "full-finetune", "continued-pretraining",
                                          "from-scratch"]
    for rung in rungs:
        assert rung["skill"] and rung["tie"] and rung["people"].low < rung["people"].high
        assert rung["able"] or rung["why"]


def test_machine_rungs_are_plans_within_the_money_and_the_time(small: dict[str, Any]) -> None:
    able = [r for r in small["rungs"][2:] if r["able"]]
    assert len(able) >= 2
    for rung in able:
        again = plan(rung["document"])
        assert again.totals["usd"].value == pytest.approx(rung["usd"].value)
        assert rung["usd"].value <= 30.0 and rung["elapsed_s"].value <= 10 * 86400.0
        assert all(phase["fits"] for phase in again.phases.values())


def test_scratch_uses_the_money_up_and_the_longer_trained_model_is_smaller_and_worse(small: dict[str, Any]) -> None:
    rung = small["rungs"][-1]
    assert rung["usd"].value > 0.9 * 30.0 or rung["elapsed_s"].value > 0.9 * 10 * 86400.0
    longer = rung["overtrained"]
    assert longer["parameters"] < rung["parameters"] and longer["tokens"] > rung["tokens"]
    assert longer["loss"].value > rung["loss"].value
    assert longer["tokens_per_parameter"] == pytest.approx(200.0)


def test_more_money_reaches_no_less(small: dict[str, Any]) -> None:
    more = afford(Ask(300.0, fleet=CARD, deadline_s=10 * 86400.0, tune_tokens=2e6, continue_tokens=2e7), load(), plan)
    for less, rung in zip(small["rungs"], more["rungs"], strict=True):
        assert rung["able"] >= less["able"]
        if less["able"] and "parameters" in less:
            assert rung["parameters"] >= less["parameters"]


def test_a_rung_says_what_the_next_one_needs(small: dict[str, Any]) -> None:
    lora = small["rungs"][2]
    assert lora["up"]["rung"] == "full-finetune"
    assert small["rungs"][-1]["up"] is None


def test_api_rungs_count_what_the_money_buys() -> None:
    rungs = afford(Ask(100.0, fleet=CARD, model="pythia-70m", tune_tokens=1e6), load(), plan)["rungs"]
    call, tune = rungs[:2]
    largest, cheap = call["options"]
    assert largest["requests"].value * largest["usd_per_request"].value == pytest.approx(100.0)
    assert cheap["requests"].value >= largest["requests"].value
    assert tune["able"] and tune["usd"].value <= 100.0 and call["lifetime_days"].low < 553 < call["lifetime_days"].high


def test_fleets_double_up_to_what_the_money_rents() -> None:
    named = offers(load(), "12xh100-sxm5-80gb")
    assert [o.most for o in named] == [12] and list(counts(named[0])) == [1, 2, 4, 8, 8]
    assert all(o.most <= 8 for o in offers(load(), None, 100.0))
    cheap = offers(load(), None)
    assert [o.usd_per_hour / o.flop_per_s for o in cheap if o.usd_per_hour] == sorted(
        o.usd_per_hour / o.flop_per_s for o in cheap if o.usd_per_hour)


def test_no_plan_is_made_where_none_can_be_cheap_enough() -> None:
    offer = Offer("h100-sxm5-80gb", 80e9, 1e15, 2.0, 8)

    def planner(document: Any) -> Any:
        raise AssertionError(document)

    dear = Work({}, 1e9, 1e9, 1e24, 1e12)
    assert cheapest(dear, [offer], planner, 10.0) is None
    assert cheapest(Work({}, 1e15, 1e15, 1e9, 1e12), [offer], planner) is None


def test_a_barrier_is_money_over_each_persona_budget() -> None:
    asked = Ask(0.0, fleet=CARD, tune_tokens=1e6, continue_tokens=1e7, deadline_s=1e8)
    found = barrier("pythia-160m", settings(asked, load()), load(), plan)
    assert [p["id"] for p in found["personas"]] == ["student", "university-lab", "startup", "enterprise", "frontier"]
    able = [t for t in found["tasks"] if t["able"]]
    assert {"LoRA", "train it from scratch", "serve it for a year"} <= {t["task"] for t in able}
    for task in able:
        for persona in found["personas"]:
            years = task["years"][persona["id"]]
            assert years.value == pytest.approx(task["usd"].value / persona["budget_usd_per_year"].value)
            assert years.low < years.value < years.high


def test_the_field_by_year_adds_up_and_both_curves_are_there() -> None:
    found = field(load())
    years = {y["year"]: y for y in found["years"]}
    assert {2020.0, 2023.0, 2024.0} <= set(years)
    for row in found["years"]:
        assert 0 < row["top_share"] <= row["cr4"] <= 1 and 0 <= row["gini"] < 1
        assert (100 * row["top_share"]) ** 2 <= row["hhi"] <= 10_000
    assert found["ticket_growth"] > 1.5  # dearer
    assert found["fixed_capability"]["cheaper_per_year"]["value"] > 1  # cheaper
    assert years[2023.0]["ticket_usd"] == pytest.approx(42.17e6, rel=1e-3)  # GPT-4, Epoch's amortised cost


def test_indices_of_concentration() -> None:
    assert shares([]) == [] and hhi([]) == 0 and gini([]) == 0
    assert hhi([5]) == pytest.approx(10_000) and hhi([1] * 10) == pytest.approx(1000)
    assert gini([2, 2, 2]) == 0 and gini([0, 0, 10]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--budget 5000"), (["--budget", "0"], "above zero"), (["--budget", "much"], "not a number"),
        (["--budget", "5", "--persona", "student"], "choose one"), (["--persona", "studnt"], "student"),
        (["--budget", "5", "-g", "h1000"], "h100"), (["no-such-model-x"], "no model"),
        (["--budget", "5", "-s", "FR", "--country", "DE"], "choose one"),
        (["--budget", "5", "--in", "-3"], "above zero"), (["--budget", "5", "--currency", "EUR"], "no rate of EUR"),
    ],
)
def test_bad_questions_are_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["afford", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["afford", "--budget", "30", "-g", CARD, "--deadline", "10d", "--tune-tokens", "2M"]
    assert run([*ask, "--continue-tokens", "20M"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("$30.0 reaches ") and "One rung up needs" in out and "of least loss" in out
    assert run(["afford", "--budget", "0.0001", "-g", CARD]) == 1
    assert run(["afford", "--field"]) == 0
    assert "Two opposite curves" in capsys.readouterr().out
    assert run(["afford", "--field", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["years"]) > 8


def test_a_plan_without_what_lies_near_is_the_same_plan() -> None:
    from outlay import plan

    for asked in ({"model": "llama-3.1-8b", "fleet": "rtx-4090", "finetune": {"method": "lora", "examples": 1000}},
                  {"model": "llama-3.1-8b", "fleet": "8xh100-sxm", "pretrain": {"tokens": 1e9}}):
        whole, bare = plan(asked).to_dict(), plan(asked, around=False).to_dict()
        assert bare["totals"] == whole["totals"] and bare["lines"] == whole["lines"]
        (phase,) = {"finetune", "pretrain"} & set(whole)
        assert {k: whole[phase][k] for k in bare[phase]} == bare[phase]
        assert "nearest" in whole[phase] and "nearest" not in bare[phase]
