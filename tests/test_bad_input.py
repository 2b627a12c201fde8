"""Bad input of every kind: what kind of error, which field it names, and what its words must say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest

from outlay.scenario_io import set_path

support = SimpleNamespace(**run_path(str(Path(__file__).with_name("fuzz_support.py"))))
DENSE: dict[str, Any] = json.loads((Path(__file__).parent / "contract" / "bases.json").read_text())["dense"]
MODEL: dict[str, Any] = DENSE["model"]
OWN = {"name": "mine", "memory_bytes": "80GB", "memory_bytes_per_s": "3TB/s", "flops_per_s": {"bf16": "900TFLOP/s"}}

# (what is set on a good scenario, kind, field, words the message must hold)
CASES: tuple[tuple[dict[str, Any], str, str, tuple[str, ...]], ...] = (
    # units and numbers
    ({"pretrain.tokens": "80GB"}, "bad_unit", "pretrain.tokens", ("GB", "15T")),
    ({"pretrain.tokens": "3 parsecs"}, "bad_unit", "pretrain.tokens", ("parsecs", "15T")),
    ({"pretrain.tokens": -1}, "bad_value", "pretrain.tokens", ("-1", "at least 1")),
    ({"pretrain.tokens": 0}, "bad_value", "pretrain.tokens", ("at least 1",)),
    ({"pretrain.tokens": 1e308}, "bad_value", "pretrain.tokens", ("at most",)),
    ({"pretrain.tokens": 10**400}, "bad_value", "pretrain.tokens", ("too large",)),
    ({"pretrain.tokens": True}, "bad_value", "pretrain.tokens", ("True", "15T")),
    ({"pretrain.tokens": "NaN"}, "bad_value", "pretrain.tokens", ("NaN",)),
    ({"pretrain.tokens": ""}, "bad_value", "pretrain.tokens", ("not a number",)),
    ({"pretrain.tokens": [1]}, "bad_value", "pretrain.tokens", ("list",)),
    ({"pretrain.tokens": {"value": 1}}, "bad_value", "pretrain.tokens", ("15T",)),
    ({"pretrain.sequence_length": 0.5}, "bad_value", "pretrain.sequence_length", ("0.5", "at least 1")),
    ({"pretrain.sequence_length": 10.5}, "bad_value", "pretrain.sequence_length", ("whole",)),
    ({"pretrain.sequence_length": 10**15}, "bad_value", "pretrain.sequence_length", ("at most",)),
    ({"pretrain.global_batch": "15T"}, "bad_value", "pretrain.global_batch", ("at most",)),
    ({"pretrain.goodput": 1.5}, "bad_value", "pretrain.goodput", ("at most 1",)),
    ({"pretrain.goodput": 0}, "bad_value", "pretrain.goodput", ("at least",)),
    ({"pretrain.warm_up": "5 lightyears"}, "bad_unit", "pretrain.warm_up", ("lightyears", "2h")),
    ({"pretrain.experiments": 0.5}, "bad_value", "pretrain.experiments", ("at least 1",)),
    ({"fleet.usd_per_device_hour": "€3"}, "bad_value", "fleet.usd_per_device_hour", ("$2.50/h",)),
    ({"fleet.devices": 0}, "bad_value", "fleet.devices", ("at least 1",)),
    ({"site.pue": 0.9}, "bad_value", "site.pue", ("at least 1",)),
    # choices and names
    ({"pretrain.precision": "fp7"}, "bad_value", "pretrain.precision", ("fp8", "bf16")),
    ({"pretrain.optimizer": "adamww"}, "bad_value", "pretrain.optimizer", ("did you mean adamw",)),
    ({"pretrain.layout.recompute": "some"}, "bad_value", "pretrain.layout.recompute", ("selective", "full")),
    ({"pretrain.layout.zero": 4}, "bad_value", "pretrain.layout.zero", ("at most 3",)),
    ({"fleet.commitment": "2y"}, "bad_value", "fleet.commitment", ("on_demand", "3y")),
    ({"fleet.provider": "amazonn"}, "unknown_name", "fleet.provider", ("aws",)),
    ({"fleet.device": "h100-smx5-80gb"}, "unknown_name", "fleet.device", ("did you mean h100-sxm5-80gb",)),
    ({"fleet.device": "H100"}, "unknown_name", "fleet.device", ("h100-sxm5-80gb", "h100-pcie-80gb")),
    ({"fleet": "0xh100-sxm5-80gb"}, "bad_value", "fleet", ("count", "64xh100")),
    ({"fleet": "_xh100-sxm5-80gb"}, "unknown_name", "fleet.device", ("_x",)),
    ({"fleet": "99999999999xh100-sxm5-80gb"}, "bad_value", "fleet", ("10,000,000",)),
    ({"model": "llama-3.1-8bb"}, "unknown_name", "model", ("did you mean llama-3.1-8b",)),
    ({"model": ["a"]}, "bad_value", "model", ("list",)),
    ({"site": "georgia"}, "unknown_name", "site", ("geo", "us-ga")),
    ({"site": "aws:us-eest-1"}, "unknown_name", "site", ("aws:us-east-1",)),
    # unknown fields
    ({"pretrian": {}}, "unknown_field", "pretrian", ("pretrain",)),
    ({"tokens": 3}, "unknown_field", "tokens", ("pretrain.tokens",)),
    ({"pretrain.tensor": 2}, "unknown_field", "pretrain.tensor", ("pretrain.layout.tensor",)),
    ({"pretrain.layout.tensr": 2}, "unknown_field", "pretrain.layout.tensr", ("tensor",)),
    # a device of one's own
    ({"fleet.device": {}}, "bad_value", "fleet.device.memory_bytes", ("memory_bytes",)),
    ({"fleet.device": {"name": "mine", "memory_bytes": "80GB"}}, "unknown_name", "fleet.device.name", ("flops_per_s",)),
    ({"fleet.device": {**OWN, "flops_per_s": {"bf61": 1e15}}}, "bad_value", "fleet.device.flops_per_s.bf61", ("bf16",)),
    ({"fleet.device": OWN, "goal": {"minimize": "energy"}}, "bad_value", "goal.minimize", ("power_w",)),
    ({"fleet.device": OWN, "goal": {"minimize": "carbon"}}, "bad_value", "goal.minimize", ("power_w",)),
    ({"fleet.device": OWN, "goal": {"minimize": "money"}}, "bad_value", "goal.minimize", ("usd_per_device_hour",)),
    ({"fleet.device": "a100-sxm4-80gb", "pretrain.precision": "fp8"}, "bad_value", "pretrain.precision", ("bf16",)),
    ({"fleet.device_power_limit_w": 5000}, "bad_value", "fleet.device_power_limit_w", ("700",)),
    # fields that contradict each other
    ({"pretrain.layout.data": 8}, "inconsistent", "pretrain.layout.data", ("64 devices", "16")),
    ({"pretrain.global_batch": 100}, "inconsistent", "pretrain.global_batch", ("96", "112")),
    ({"pretrain.layout.tensor": 3}, "inconsistent", "pretrain.layout.tensor", ("32 heads", "2 and 4")),
    ({"pretrain.layout.expert": 2}, "inconsistent", "pretrain.layout.expert", ("mixture",)),
    ({"pretrain.layout.pipeline": 64}, "inconsistent", "pretrain.layout.pipeline", ("32 layers",)),
    ({"pretrain.layout.shard": 5}, "inconsistent", "pretrain.layout.shard", ("4 and 8",)),
    ({"fleet.devices_per_node": 7}, "inconsistent", "fleet.devices", ("63 and 70",)),
    ({"model.kv_heads": 5}, "inconsistent", "model.kv_heads", ("32", "5")),
    ({"model.experts_per_token": 2}, "inconsistent", "model.experts", ("without experts",)),
    ({"model.experts": 4, "model.experts_per_token": 8}, "inconsistent", "model.experts_per_token", ("8", "4")),
    ({"model.parameters": 70e9}, "inconsistent", "model.parameters", ("70,000,000,000", "leave one")),
    ({"model": {"parameters": 7e9, "active_parameters": 9e9}}, "inconsistent", "model.active_parameters", ("more",)),
    ({"model.positions": "learned", "model.max_positions": 1024}, "bad_value", "pretrain.sequence_length",
     ("8192", "1024")),
    # files
    ({"model": "./nope/config.json"}, "unreadable", "model", ("no file or folder", "nope")),
    ({"model": "~nobody-here/config.json"}, "unreadable", "model", ("no file or folder",)),
    ({"model": "/dev/zero"}, "unsupported", "model", ("config.json",)),
    ({"model": "/"}, "unreadable", "model", ("config.json",)),
    # nothing to plan with
    ({"model": None}, "bad_value", "model", ("needed",)),
    ({"fleet": None}, "bad_value", "fleet", ("64xh100-sxm5-80gb",)),
)


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    scenario = copy.deepcopy(DENSE)
    for path, value in changes.items():
        scenario = set_path(scenario, path, value)
    return scenario


@pytest.mark.parametrize("case", CASES, ids=[json.dumps(c[0])[:60] for c in CASES])
def test_bad_input_is_named(case: tuple[dict[str, Any], str, str, tuple[str, ...]]) -> None:
    changes, kind, field, words = case
    found = support.answer(changed(changes))
    assert "error" in found, f"accepted: {changes}"
    error = found["error"]
    assert support.error_faults(error) == []
    assert (error["kind"], error["field"]) == (kind, field), error["message"]
    missing = [word for word in words if word not in error["message"]]
    assert not missing, f"{missing} not in {error['message']!r}"


def test_what_device_hours_do_not_use_is_named() -> None:
    scenario = {"fleet": "8xh100-sxm5-80gb", "site": "FR",
                "pretrain": {"device_hours": 10, "sequence_length": 77, "layout": {"tensor": 2}}}
    (warning,) = [w for w in support.answer(scenario)["warnings"] if "not used" in w]
    assert "pretrain.sequence_length" in warning and "pretrain.layout" in warning


@pytest.mark.parametrize("changes", [
    {"fleet.failures_per_device_hour": 0}, {"fleet.failures_per_device_hour": 1e6},
    {"pretrain.checkpoint_interval": "1ns"}, {"pretrain.checkpoint_write_bytes_per_s": 1},
    {"pretrain.tokens": 1}, {"pretrain.tokens": 1e24}, {"fleet.inter_node_bytes_per_s": 1},
    {"fleet.device_memory_bytes": 1}, {"fleet.device_power_limit_w": 0.001}, {"site.grid_kgco2e_per_kwh": 0},
], ids=str)
def test_extreme_values_give_whole_answers(changes: dict[str, Any]) -> None:
    scenario = changed(changes)
    assert support.faults_of(support.answer(scenario)) == []
