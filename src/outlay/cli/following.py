"""`Next:` — two commands worth running after an answer, rebuilt from what was typed, ready to paste."""

from __future__ import annotations

import shlex
from typing import Any

_VERB = {"pretrain": "train", "finetune": "tune", "serve": "serve"}
_SMALL = 16  # devices below which a model that cannot be trained may still be run or fine-tuned


def next_commands(document: dict[str, Any], flags: dict[str, Any]) -> list[str]:
    """What to run next, by phase and by how the answer turned out."""
    kind = next((p for p in _VERB if document.get(p)), "pretrain")
    phase = document.get(kind) or {}
    if phase.get("fits") is False:
        return _after_no(kind, document, phase, flags)
    base = command_line(kind, flags)
    if kind == "serve":
        offers = (*_replayed(document, flags), "--vary max_model_len=8192,32768,131072",
                  "--vary kv_precision=bf16,fp8")
        return [f"{base} {offer}" for offer in offers[:2]]
    if kind == "finetune":
        more = "--examples 50k" if phase.get("elapsed_s") is None else "--vary method=lora,qlora,full"
        return [f"{base} {more}", f"{base} --vary sequence_length=1024,2048,4096"]
    explain = base.replace("outlay train", "outlay explain", 1)
    if phase.get("elapsed_s") is None:
        return [f"{base} -n 1T", f"{explain} step_time_s"]
    if phase.get("within_goal") is False:
        return [f"{base} --vary {_more(document)}", f"{explain} device_hours"]
    return [f"{explain} device_hours", f"{base} --vary {_other(document)}"]


def _replayed(document: dict[str, Any], flags: dict[str, Any]) -> list[str]:
    """What more a replay has: its table, and replicas that come and go where several stand for requests that come."""
    phase, scenario = document["serve"], document.get("scenario") or {}
    found, work = phase.get("replay") or {}, (scenario.get("serve") or {}).get("workload") or {}
    if not found.get("own"):
        return []
    offers = [] if flags.get("table_requests") else ["--requests-file replayed.csv"]
    comes = {"trace", "rate", "users"} & set(work) and "hourly" not in work
    fleet, several = scenario.get("fleet") or {}, (phase.get("replicas") or 1) > 1 and not phase.get("pools")
    by_hour = fleet.get("tenure") != "own" and fleet.get("commitment") not in ("1y", "3y") and flags.get("opt_fleet")
    if comes and by_hour and several and "replicas_mean" not in found:
        offers.append("--vary scaling=fixed,autoscale")
    return offers


def _after_no(
    kind: str, document: dict[str, Any], phase: dict[str, Any], flags: dict[str, Any]
) -> list[str]:
    """The first verified change that fits, then what else this hardware can do."""
    base = command_line(kind, flags)
    changes = [entry["set"] for entry in phase.get("nearest") or [] if entry.get("set")]
    first = [command_line(kind, flags, changes[0])] if changes else []
    if kind == "serve":
        return [*first, f"{(first or [base])[0]} --vary precision=bf16,fp8,awq-int4"]
    if kind == "finetune":
        return [*first, f"{base} --vary method=lora,qlora"]
    devices = ((document.get("scenario") or {}).get("fleet") or {}).get("devices") or 1
    if devices <= _SMALL and flags.get("subject") and flags.get("opt_fleet"):
        subject, fleet = shlex.quote(str(flags["subject"])), shlex.quote(flags["opt_fleet"])
        return [*first, f"outlay fit {subject} -g {fleet}"]
    explain = base.replace("outlay train", "outlay explain", 1)
    return [*(first or [f"{base} --recompute full"]), f"{explain} memory_per_device_bytes"]


def _more(document: dict[str, Any]) -> str:
    """More devices for a date; another commitment for a budget."""
    missed = (document.get("pretrain") or {}).get("missed") or []
    devices = int(((document.get("scenario") or {}).get("fleet") or {}).get("devices") or 1)
    if any(isinstance(m, dict) and m.get("constraint") == "budget" for m in missed):
        return "fleet.commitment=on_demand,spot,1y,3y"
    return f"fleet.devices={devices},{2 * devices},{4 * devices}"


def _other(document: dict[str, Any]) -> str:
    """The field most worth varying: the place when none was given, else the precision."""
    scenario = document.get("scenario") or {}
    if (scenario.get("pretrain") or {}).get("device_hours") or not scenario.get("site"):
        return "site=SE,FR,US,IN --for carbon"
    precision = (scenario.get("pretrain") or {}).get("precision")
    return "precision=bf16,fp8" if precision != "fp8" else "tokens=1T,2T,4T"


def command_line(kind: str, flags: dict[str, Any], change: dict[str, Any] | None = None) -> str:
    """The command that was typed, rebuilt from its flags, with `change` in place of what it changes."""
    from outlay.cli.options import FIELDS
    from outlay.cli.subjects import as_flags

    change = change or {}
    words = ["outlay", _VERB[kind]]
    if flags.get("subject"):
        words.append(str(flags["subject"]))
    for name, spelling in (("opt_file", "-f"), ("opt_fleet", "-g"), ("opt_budget_file", "--budget-file")):
        words += [spelling, flags[name]] if flags.get(name) else []
    for flag in FIELDS:
        given = flags.get(flag.name)
        if given is not None and flag.name != "opt_fleet" and flag.path.format(phase=kind) not in change:
            words += [flag.spellings[0], given]
    for name, spelling in (("opt_catalog", "--catalog"), ("opt_prices", "--prices"), ("opt_tag", "--tag")):
        for given in flags.get(name) or ():
            words += [spelling, given]
    read = [(path, "=", value) for path, value in as_flags(flags, kind)]
    typed = [*read, *(text.partition("=") for text in flags.get("opt_set") or ())]
    for path, _, value in typed:
        words += [] if path in change else _spelled(kind, path, value)
    for path, value in change.items():
        if value is not None:
            words += _spelled(kind, path, str(value))
        elif path.endswith(".layout") or flags.get("opt_file"):  # only what is there needs unsetting
            words += ["--set", f"{path}=null"]
    return " ".join(map(shlex.quote, words))


def _spelled(kind: str, path: str, value: str) -> list[str]:
    """A setting by the flag a person would type, where there is one."""
    from outlay.cli.phase_fields import SERVE, SWITCHES, TUNE

    if kind == "serve" and value in ("true", "false"):
        for spellings, field, _ in SWITCHES:
            on, _, off = spellings.partition("/")
            said = on if value == "true" else off
            if path == f"serve.{field}" and said:
                return [said]

    flags = {
        "finetune": {f"finetune.{field}": flag for flag, field, _, _ in TUNE},
        "serve": {f"serve.{field}": spellings[0] for spellings, field, _, _ in SERVE},
    }.get(kind, {})
    if path not in flags:
        return ["--set", f"{path}={value}"]
    if path == "finetune.gradient_checkpointing":
        value = {"true": "yes", "false": "no"}.get(value.lower(), value)
    return [flags[path], value.removeprefix("[").removesuffix("]")]
