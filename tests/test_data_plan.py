"""The data plan: tokens and bytes by stage against FineWeb's own, prices per piece, and every bad input named."""

from __future__ import annotations

from typing import Any

import pytest

from outlay import OutlayError, Result, plan


def data(**fields: Any) -> Result:
    return plan({"site": "aws:us-east-1", "data": fields})


def items(result: Result) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in result.lines:
        assert line.usd is not None, line.usage.item
        found[line.usage.item] = found.get(line.usage.item, 0.0) + line.usd.value
    return found


def test_a_web_corpus_has_the_stages_that_fineweb_published() -> None:
    """arXiv:2406.17557: 96 snapshots, 36T tokens extracted, 20T deduplicated, 15T kept, 44 TB."""
    stages = data(tokens="15T").phases["data"]["stages"]
    assert stages["extracted"]["tokens"].value == pytest.approx(36e12)
    assert stages["deduplicated"]["tokens"].value == pytest.approx(20e12)
    assert stages["text"]["bytes"].value == pytest.approx(44e12, rel=0.01)
    assert 96 * 75e12 <= stages["raw"]["bytes"].value <= 96 * 90e12


def test_a_named_corpus_brings_its_own_tokens_bytes_and_licence() -> None:
    found = data(datasets=["fineweb"]).phases["data"]
    assert found["tokens"].value == 15e12 and found["cleaned_tokens"].value == 0
    assert found["sources"][0]["licence"].startswith("ODC-BY")
    assert found["stages"]["text"]["bytes"].value == pytest.approx(44e12, rel=0.01)
    assert "raw" not in found["stages"]


def test_part_of_a_corpus_and_the_rest_from_the_web() -> None:
    found = data(tokens="1T", datasets=["c4-en"]).phases["data"]
    assert found["sources"][0]["tokens"] + found["cleaned_tokens"].value == pytest.approx(1e12)
    less = data(tokens="100B", datasets=["c4-en"]).phases["data"]
    assert less["sources"][0]["tokens"] == 1e11 and less["cleaned_tokens"].value == 0


def test_storage_of_fineweb_costs_what_its_list_price_says() -> None:
    """44 TB for a year at 0.023 USD per GB and month (list price, 2026-05): about 12,100 USD."""
    found = items(data(datasets=["fineweb"], duration="1d", storage={"tier": "s3-standard", "retention": "1y"}))
    assert found["storage text"] == pytest.approx(43_950 * 0.023 * 12, rel=0.01)


def test_pieces_are_priced_by_the_piece_and_licences_by_the_year() -> None:
    found = items(data(annotation={"preferences": 1000, "usd_per_preference": 3},
                       licences=[{"name": "a", "usd_per_year": 100, "years": 2}, {"name": "b", "usd": 50}],
                       storage={"retention": "5y"}))
    assert found["preferences"] == pytest.approx(3000)
    assert found["licences"] == pytest.approx(250)


def test_a_deal_told_by_total_and_by_year_is_paid_once() -> None:
    """News Corp to OpenAI: 250 M USD over five years is 50 M a year, not both."""
    found = items(data(annotation={"preferences": 1}, licences=["news-corp-openai"], storage={"retention": "10y"}))
    assert found["licences"] == pytest.approx(250e6)


def test_scoring_uses_the_devices_of_the_fleet() -> None:
    scenario = {"site": "US", "fleet": "8xh100-sxm5-80gb", "data": {"tokens": "1T", "classifier": {"utilization": 0.2}}}
    slow = plan({**scenario, "fleet": "8xa100-sxm4-80gb"}).totals["device_hours"].value
    fast = plan(scenario).totals["device_hours"].value
    assert slow / fast == pytest.approx(989.4 / 312, rel=0.01)


def test_training_and_data_do_not_store_the_corpus_twice() -> None:
    scenario: dict[str, Any] = {"model": "llama-3.1-8b", "fleet": "8xh100-sxm5-80gb", "site": "US",
                                "pretrain": {"tokens": "10B", "sequence_length": 4096, "global_batch": 256}}
    alone = {x.usage.item for x in plan(scenario).lines}
    both = plan({**scenario, "data": {}})
    assert "dataset-storage" in alone
    assert "dataset-storage" not in {x.usage.item for x in both.lines}
    assert both.phases["data"]["tokens"].value == 1e10


@pytest.mark.parametrize(("fields", "field"), [
    ({}, "data.tokens"),
    ({"tokens": "1T", "datasets": ["finweb"]}, "data.datasets[0]"),
    ({"tokens": "1B", "datasets": [{"name": "c4-en", "tokens": "2B"}]}, "data.datasets"),
    ({"tokens": "1T", "datasets": [{"name": "c4-en", "tokens": "2T"}]}, "data.datasets"),
    ({"datasets": ["common-crawl-monthly-archive-warc"]}, "data.datasets"),
    ({"tokens": "1T", "classifier": {}}, "fleet"),
    ({"tokens": "1T", "synthetic": {"tokens": "1B"}}, "data.synthetic"),
    ({"tokens": "1T", "synthetic": {"tokens": "1B", "usd_per_million_tokens": 1, "tokens_per_s_per_device": 1}},
     "data.synthetic"),
    ({"annotation": {"demonstrations": 10}}, "data.annotation.usd_per_demonstration"),
    ({"annotation": {"usd_per_preference": 10}}, "data.annotation.usd_per_preference"),
    ({"tokens": "1T", "licences": ["redit-google"]}, "data.licences[0]"),
    ({"tokens": "1T", "licences": [{"name": "mine"}]}, "data.licences"),
    ({"tokens": "1T", "storage": {"tier": "s3"}}, "data.storage.tier"),
    ({"tokens": "1T", "yields": {"filtered": 0}}, "data.yields.filtered"),
])
def test_bad_input_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(OutlayError) as caught:
        data(**fields)
    assert caught.value.field == field


def test_synthetic_text_is_written_at_what_the_serving_plan_sustains() -> None:
    scenario: dict[str, Any] = {
        "model": "llama-3.1-8b", "fleet": "1xh100-sxm5-80gb", "site": "US",
        "serve": {"max_model_len": 4096, "workload": {"rate": 1, "input": 500, "output": 500}},
        "data": {"tokens": "1B", "synthetic": {"tokens": "1B"}}}
    result = plan(scenario)
    serve = result.phases["serve"]
    held = sum(x.usage.quantity.value for x in result.lines if x.usage.item == "synthetic"
               and x.usage.resource == "device_s")
    assert 1e9 / held == pytest.approx(serve["capacity_requests_per_s"].value * 500)
    assert 1e9 / held > 100 * serve["output_tokens_per_s"].value / 500


def test_work_that_the_fleet_cannot_do_in_time_is_said() -> None:
    scenario = {"site": "US", "fleet": "1xh100-sxm5-80gb", "data": {"tokens": "1B", "ablation_device_hours": 50_000}}
    assert any(w.startswith("data.duration") for w in plan(scenario).warnings)
