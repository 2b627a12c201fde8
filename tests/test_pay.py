"""Ways to pay: each request at its own price, bills that add up, break-even points that are ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay import plan
from outlay.catalog.token_prices import find_offers, offers, offers_of, shipped
from outlay.resolve.pay.fleet import rentable
from outlay.valuation import ways

DAY = "2026-11-23"


def api_only(api: str, **work: Any) -> dict[str, Any]:
    found: dict[str, Any] = plan({"pay": {"ways": ["api"], "api": api, "people": {"api": 0},
                                          "requests_per_month": 1, **work}}).to_dict()["pay"]["serve"]
    return found


def cost(found: dict[str, Any], way: int = 0) -> float:
    return float(found["ways"][way]["usd"]["value"])


def test_a_months_sum_is_never_priced_at_the_months_size(tmp_path: Path) -> None:
    """Ten requests of 60k tokens are ten small requests; one of 600k is a large one at twice the price."""
    few = tmp_path / "one.csv"
    few.write_text("input,output\n600000,10000\n")
    many = api_only("anthropic/claude-sonnet-4-5", requests_per_month=10, input=60_000, output=1_000)
    one = api_only("anthropic/claude-sonnet-4-5", requests_file=str(few))
    assert cost(many) == pytest.approx(10 * (60e3 * 3.0 + 1e3 * 15.0) / 1e6)
    assert cost(one) == pytest.approx((600e3 * 6.0 + 10e3 * 22.5) / 1e6)


def test_a_file_is_priced_row_by_row(tmp_path: Path) -> None:
    rows = [(1200, 250, 300, 0), (250_000, 900, 0, 1000), (199_999, 10, 100_000, 0), (0, 5, 0, 0)]
    path = tmp_path / "rows.csv"
    path.write_text("input_tokens,output_tokens,cached_tokens,cache_write_tokens\n"
                    + "\n".join(",".join(map(str, r)) for r in rows))
    found = api_only("anthropic/claude-sonnet-4-5", requests_per_month=len(rows), requests_file=str(path))
    wanted = sum(ways.request_usd(i, c, w, o, *((6.0, 0.6, 7.5, 22.5) if i > 200_000 else (3.0, 0.3, 3.75, 15.0)))
                 for i, o, c, w in rows)
    assert cost(found) == pytest.approx(wanted)


def test_reasoning_is_output_and_batches_cost_half() -> None:
    plainly = api_only("openai/gpt-5-mini", input=1000, output=100, reasoning=900, can_wait=True)
    names = {w["name"]: w["usd"]["value"] for w in plainly["ways"]}
    assert names["API, openai gpt-5-mini"] == pytest.approx((1000 * 0.25 + 1000 * 2.0) / 1e6)
    assert names["API, openai gpt-5-mini, within a day"] == pytest.approx((1000 * 0.125 + 1000 * 1.0) / 1e6)


def test_prices_by_the_hour_are_weighed_by_the_hours() -> None:
    """deepseek-flash: 0.30 a million for 7 hours of the day (list price of 2026), the other price for the rest."""
    offer = find_offers("deepseek/deepseek-v4-flash", DAY)[0]
    assert sum(share for _, share in offer.shares()) == pytest.approx(1.0)
    mean = sum(p.rungs[0].input * share for p, share in offer.shares())
    found = api_only("deepseek/deepseek-v4-flash", input=1e6, output=1)
    assert found["ways"][0]["parts"]["input"]["value"] == pytest.approx(mean)


def test_prices_of_the_future_are_not_used() -> None:
    assert any(p.valid_from > DAY for p in shipped()), "the snapshot holds prices that are not in force yet"
    assert all(p.valid_from <= DAY for o in offers(DAY) for p in o.prices)


def test_offers_of_a_model_serve_its_shape() -> None:
    found = {o.first.provider for o in offers_of("llama-3.3-70b", DAY)}
    assert {"groq", "together", "aws"} <= found


@pytest.fixture(scope="module")
def serving() -> dict[str, Any]:
    document = {"model": "llama-3.1-8b", "fleet": "h100-sxm5-80gb", "site": "DE",
                "pay": {"requests_per_month": "30M", "input": 1200, "output": 250}}
    found: dict[str, Any] = plan(document).to_dict()["pay"]["serve"]
    return found


def test_every_kind_is_there_and_sorted(serving: dict[str, Any]) -> None:
    assert {w["kind"] for w in serving["ways"]} == {"api", "rent", "own"}
    commitments = {w["commitment"] for w in serving["ways"] if w["kind"] == "rent"}
    assert commitments == {"on_demand", "spot", "1y", "3y"}
    costs = [w["usd"]["value"] for w in serving["ways"]]
    assert costs == sorted(costs)


def test_parts_and_lines_add_up(serving: dict[str, Any]) -> None:
    for way in serving["ways"]:
        assert sum(p["value"] for p in way["parts"].values()) == pytest.approx(way["usd"]["value"])
        assert sum(x["usd"]["value"] for x in way["lines"]) == pytest.approx(way["usd"]["value"])
        assert way["parts"]["people"]["value"] > 0, "people are never zero in silence"
        if way["kind"] != "api":
            assert way["parts"]["idle"]["value"] > 0, "idle hours are never zero in silence"


def test_owning_pays_for_all_that_belongs_to_it(serving: dict[str, Any]) -> None:
    own = next(w for w in serving["ways"] if w["kind"] == "own")
    wanted = {"purchase", "interest", "upkeep", "spares", "building", "electricity", "resale", "people"}
    assert wanted <= set(own["parts"])
    assert own["parts"]["resale"]["value"] < 0
    assert own["upfront_usd"]["value"] > 0
    assert own["energy_j"]["value"] > 0


def test_an_interruption_costs_something(serving: dict[str, Any]) -> None:
    spot = next(w for w in serving["ways"] if w.get("commitment") == "spot")
    assert spot["parts"]["interruptions"]["value"] > 0


def test_at_the_break_even_both_cost_the_same() -> None:
    """Planned just above the volume where owning is said to become cheaper, it is; just below, it is not."""

    def costs(requests: float) -> tuple[float, float, dict[str, Any]]:
        document = {"model": "llama-3.1-8b", "fleet": "h100-sxm5-80gb", "site": "DE",
                    "pay": {"input": 1200, "output": 250, "requests_per_month": requests, "api": "openai/gpt-5-mini"}}
        found = plan(document).to_dict()["pay"]["serve"]
        own, api = (next(w for w in found["ways"] if w["kind"] == kind) for kind in ("own", "api"))
        return own["usd"]["value"], api["usd"]["value"], found["break_even"]["own_or_api"]["requests_per_month"]

    volume = costs(30e6)[2]["value"]
    assert volume is not None
    own, api, _ = costs(1.05 * volume)
    assert own <= api
    own, api, _ = costs(0.9 * volume)
    assert own > api


def test_more_use_never_costs_more_a_token(serving: dict[str, Any]) -> None:
    for name in ("rent", "own"):
        values = [row[name]["value"] for row in serving["break_even"]["by_use"]]
        assert values == sorted(values, reverse=True)


def test_shared_machines_pay_only_for_their_part() -> None:
    base = {"model": "llama-3.1-8b", "site": "DE",
            "pay": {"requests_per_month": "3M", "input": 1200, "output": 250, "ways": ["own"]}}
    alone = plan(base | {"fleet": "h100-sxm5-80gb"}).to_dict()["pay"]["serve"]["ways"][0]
    fleet = {"device": "h100-sxm5-80gb", "utilization": 0.8}
    shared = plan(base | {"fleet": fleet}).to_dict()["pay"]["serve"]["ways"][0]
    assert "idle" not in shared["parts"]
    assert shared["usd"]["value"] < alone["usd"]["value"]


def test_training_is_paid_for_in_every_way() -> None:
    document = {"model": "llama-3.1-8b", "fleet": "8xh100-sxm5-80gb", "site": "DE",
                "finetune": {"method": "lora", "examples": "50k", "epochs": 3}, "pay": {}}
    result = plan(document).to_dict()
    found = result["pay"]["finetune"]
    assert {w["kind"] for w in found["ways"]} == {"api", "rent", "own"}
    together = next(w for w in found["ways"] if w.get("provider") == "together")
    tokens = result["finetune"]["tokens"]
    tokens = tokens["value"] if isinstance(tokens, dict) else tokens
    assert together["parts"]["training tokens"]["value"] == pytest.approx(tokens * 0.48e-6)
    assert not found["ways"][0]["beyond_the_run"], "a contract for years is not the cheapest way to pay for a day"
    hourly = next(w for w in found["ways"] if w.get("commitment") == "on_demand")
    assert hourly["parts"]["machines"]["value"] > 0


def test_equal_quality_is_not_claimed() -> None:
    result = plan({"pay": {"ways": ["api"], "api": "gpt-5-mini", "requests_per_month": 1, "input": 1, "output": 1}})
    assert "not the same quality" in result.to_dict()["pay"]["quality"]


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 1.0), st.floats(0.0, 1e5), st.floats(1.0, 1e5), st.floats(1.0, 1e9))
def test_break_even_is_where_the_lines_cross(price: float, fixed: float, unit: float, capacity: float) -> None:
    """At the volume both cost the same; a little below, machines cost more however many there are."""
    volume = float(ways.break_even_volume(price, fixed, unit, capacity))
    if np.isinf(volume):
        assert price * capacity <= unit * (1 + 1e-9)
        return
    units = np.ceil(volume / capacity - 1e-6)
    assert units * unit + fixed <= price * volume * (1 + 1e-6) + 1e-9
    less = 0.98 * volume
    needed = max(np.ceil(less / capacity - 1e-9), 1.0)
    assert needed * unit + fixed >= price * less * (1 - 1e-9)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(offers(DAY)), st.integers(1, 5_000_000),
       st.lists(st.tuples(st.integers(0, 600_000), st.floats(0, 1), st.integers(1, 30_000)), min_size=1, max_size=12))
def test_a_bill_is_the_sum_of_its_requests(offer: Any, count: int, rows: list[tuple[int, float, int]]) -> None:
    """Any offer, any requests: lines add up to each request priced alone, times how often it comes."""
    from outlay.derive import exact
    from outlay.planner.pay.api import api_lines
    from outlay.readers.requests_file import RequestLengths
    from outlay.resolve.pay.phase import PayPhase, Work

    asked, shares, answered = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    lengths = RequestLengths(asked, np.floor(asked * shares), 0.0 * asked, answered)
    nothing = exact(0.0)
    phase = PayPhase(("api",), Work(exact(float(count)), lengths), (), True, False, nothing, nothing, {"api": nothing},
                     nothing, nothing, nothing, DAY, {}, [])
    wanted = 0.0
    for price, share in offer.shares():
        for i in range(len(rows)):
            rung = [r for r in price.rungs if asked[i] > r.above or r.above == 0.0][-1]
            cached = rung.input if rung.cached is None else rung.cached
            wanted += share * float(ways.request_usd(asked[i], lengths.cached[i], 0.0, answered[i], rung.input, cached,
                                                     0.0, rung.output, price.usd_per_request))
    found = sum(line.usd.value for line in api_lines(phase, offer) if line.usd is not None)
    assert found == pytest.approx(wanted * count / len(rows), rel=1e-9)


def test_json_has_no_infinities() -> None:
    document = {"model": "llama-3.1-8b", "fleet": "h100-sxm5-80gb",
                "pay": {"requests_per_month": 1000, "input": 10, "output": 10}}
    text = plan(document).to_json()
    assert json.loads(text) and "Infinity" not in text


def test_no_way_left_is_an_answer_and_not_an_error() -> None:
    document = {"model": "llama-3.1-405b", "fleet": "l40s",
                "pay": {"ways": ["rent"], "requests_per_month": 1000, "input": 10, "output": 10}}
    result = plan(document)
    assert result.exit_code == 1
    assert result.to_dict()["pay"]["fits"] is False
    assert "does not fit" in result.to_dict()["pay"]["serve"]["notes"][0]


@pytest.mark.parametrize("workload", [{"rate": 2.0}, {"users": 1500, "requests_per_user_hour": 9.6}])
def test_a_serving_workload_says_how_many(workload: dict[str, Any]) -> None:
    """Two requests a second are 5.26M a month; so are 1,500 users of 9.6 requests in an hour of twice the mean."""
    document = {"model": "llama-3.1-8b", "fleet": "8xh100-sxm5-80gb", "pay": {"ways": ["own"], "peak": 2},
                "serve": {"workload": {**workload, "input": 1200, "output": 250}}}
    found = plan(document).to_dict()["pay"]["serve"]
    assert found["requests_per_month"]["value"] == pytest.approx(2.0 * 2_629_800)
    assert (found["input"], found["output"]) == (1200, 250)


def test_the_snapshot_can_be_checked_against_the_package_it_came_from() -> None:
    """Where the extra is installed: its own data, read as live prices are, agree with the snapshot."""
    pytest.importorskip("genai_prices")
    from outlay.cli.live_prices import live_token_prices

    prices, day = live_token_prices(fetch=False)
    live = find_offers("openai/gpt-4o", day, prices=prices)[0].first.rungs
    assert live == find_offers("openai/gpt-4o", DAY)[0].first.rungs


def test_live_prices_without_the_extra_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from outlay.cli.live_prices import live_token_prices
    from outlay.errors import Unsupported

    def missing(name: str, *rest: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Unsupported, match=r"outlay\[prices\]"):
        live_token_prices()


def test_other_volumes_start_from_this_one(serving: dict[str, Any]) -> None:
    """At one times the requests a month costs what it costs; more requests never cost less."""
    rows = serving["break_even"]["by_volume"]
    cheapest = {w["kind"]: w["usd"]["value"] for w in reversed(serving["ways"])}
    here = next(r for r in rows if r["times"] == 1.0)
    for kind in ("api", "rent", "own"):
        assert here[kind]["value"] == pytest.approx(cheapest[kind])
        values = [r[kind]["value"] for r in rows]
        assert values == sorted(values)


def test_the_cheapest_device_is_found_without_planning_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose lowest rent is above what the best needs cannot be cheaper."""
    from outlay.planner.pay import plan as module

    asked: dict[str, Any] = {"model": "llama-3.1-8b", "pay": {"requests_per_month": 3e6, "input": 1200, "output": 250}}
    seen: list[str] = []
    plain = module.quick_capacity
    monkeypatch.setattr(module, "quick_capacity", lambda r: seen.append(r.hardware.device) or plain(r))  # type: ignore[func-returns-value]
    few = plan(asked).phases["pay"]["serve"]["device"]
    count = len(seen)
    monkeypatch.setattr(module, "_least_devices", lambda *_: 0.0)
    monkeypatch.setattr(module, "rentable", lambda catalog: [(0.0, d) for _, d in rentable(catalog)])
    seen.clear()
    assert plan(asked).phases["pay"]["serve"]["device"] == few
    assert count < len(seen) / 3
