"""One request alone, and equal replicas under load: what the serving plan says of time, use and money."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import DRAWS, Quantity, derive, drawn_of, value_of
from outlay.physics import stream as st
from outlay.planner.capacity.rate import most_load, within_promises
from outlay.planner.replay.told import tell_replay
from outlay.planner.serve.energy import PHASES, power_values
from outlay.planner.serve.loads import table_of_loads
from outlay.planner.serve.memory import as_q
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.sums import scaled
from outlay.planner.serve.times import Traffic, load_of, percentile_keys, times
from outlay.planner.serve.use import duration, serving_lines, unit_prices
from outlay.resolve.power import serve_power_facts
from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.serve.speed import FITTED, Speed
from outlay.resolve.workload import Asked
from outlay.steps.serve.cache import tokens_at
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import ServeMemory
from outlay.steps.serve.stream import OneStream, one_stream
from outlay.steps.serve.time import serve_time
from outlay.steps.serve.time_inputs import Load
from outlay.usage import Line

FIRST_ALONE, TOKEN_ALONE = "time to the first token, one request", "time of one token, one request"


def alone(arch: Architecture, phase: ServePhase, layout: ServeLayout) -> dict[str, Any]:
    """One request on a replica by itself.

    Of an engine and a device that were measured the time model has it. Of a measured engine on other devices a token
    is as much longer as a roofline over what it reads is on one of them; prompts are bound by arithmetic and by what
    the host launches, and links are their own. Of other engines that roofline has all.
    """
    prompt, output = phase.asked.input, phase.asked.output
    speed, load = phase.speed, Load("closed", prompt, output)
    modelled = serve_time(arch, speed.device, speed.engine, layout, load)
    if speed.fitted:
        first, token = (_of_model(modelled, name, speed, layout, load) for name in ("ttft_s", "tpot_s"))
    elif phase.engine.id in FITTED:
        first = _of_model(modelled, "ttft_s", replace(speed, own=None), layout, load)
        token = _on_this_device(arch, phase, layout, float(modelled["tpot_s"]), load)
    else:
        each, more = _read(arch, phase, layout, load), _over_plain(modelled, arch, speed, layout, load)
        first, token = (
            derive(scaled, label, "s", modelled_s=as_q(one, "s", label), slower=slower)
            for one, label, slower in ((each.first_s, FIRST_ALONE, more[0]), (each.token_s, TOKEN_ALONE, more[1]))
        )
    whole = derive(st.request_time_s, "one request", "s", first_s=first, token_s=token, output_tokens=output)
    return {
        "input": prompt,
        "output": output,
        "ttft_s": first,
        "tpot_s": token,
        "e2e_s": whole,
        "output_tokens_per_s": derive(_per_second, "tokens of one request", "tokens/s", token_s=token),
    }


def _read(arch: Architecture, phase: ServePhase, layout: ServeLayout, load: Load) -> OneStream:
    """One request by what its prompt computes and what each further token reads."""
    recipe = replace(phase.recipe, cache_bytes=value_of(phase.recipe.cache_bytes))
    return one_stream(arch, phase.device, recipe, layout, load.input, load.input + load.output / 2)


def _on_this_device(arch: Architecture, phase: ServePhase, layout: ServeLayout, modelled_s: float, load: Load
                    ) -> Quantity:
    """A token of a request on devices whose kernels were not measured, by what it reads on one device alone.

    Links between devices, and to the host, are the time model's: they are known of any device. So is what an older
    version takes beyond today's, of which the roofline is.
    """
    speed, one = phase.speed, ServeLayout(1)
    usual = replace(speed.today or speed.plain or speed.engine, host_bytes=0.0)
    bare = serve_time(arch, speed.device, usual, one, load)
    read_s = as_q(_read(arch, phase, one, load).token_s, "s", "time of one token, one device")
    linked_s = 0.0
    if speed.engine.host_bytes:
        here = serve_time(arch, speed.device, replace(speed.engine, host_bytes=0.0), layout, load)
        linked_s = modelled_s - float(here["tpot_s"])
    found: Quantity = derive(_as_one_device, TOKEN_ALONE, "s", modelled_s=modelled_s, read_s=read_s,
                             one_device_s=float(bare["tpot_s"]), linked_s=linked_s)
    return found


def _of_model(modelled: Mapping[str, Any], name: str, speed: Speed, layout: ServeLayout, load: Load) -> Quantity:
    """A time of one request as the time model has it, corrected by a person's own runs where there are."""
    devices = value_of(layout.devices)
    own_s = float(modelled[name] * speed.nominal(name, 1.0, load.input, load.output, devices))
    residual = speed.residual(name, at=speed.place(1.0, load.input, load.output, devices), devices=devices)
    label = FIRST_ALONE if name == "ttft_s" else TOKEN_ALONE
    found: Quantity = derive(scaled, label, "s", modelled_s=own_s, slower=residual)
    return found


def _over_plain(
    modelled: Mapping[str, Any], arch: Architecture, speed: Speed, layout: ServeLayout, load: Load
) -> tuple[float, float]:
    """First token and further ones of one request, over those of an engine as it is usually run.

    That is without drafting, cached prefixes, adapters, images and costly sampling, and with steps in graphs. The
    roofline of one stream knows of none of them; the time model says what each makes of it.
    """
    if speed.plain is None:
        return 1.0, 1.0
    bare = serve_time(arch, speed.device, speed.plain, layout, load)
    return float(modelled["ttft_s"] / bare["ttft_s"]), float(modelled["tpot_s"] / bare["tpot_s"])


def replicas_of(
    arch: Architecture,
    phase: ServePhase,
    layout: ServeLayout,
    count: int,
    memory: ServeMemory,
    single: dict[str, Any],
) -> Replicas:
    """Replicas as the time model sees them; an engine without constants of its own is held to its one stream."""
    tokens = held_tokens(arch, phase, layout, max(value_of(memory.kv_cache_tokens), 0.0))
    return held_to_one_stream(Replicas(arch, phase.speed, layout, count, tokens, single=single), phase)


def held_to_one_stream(whole: Replicas, phase: ServePhase) -> Replicas:
    """An engine or a device without constants of its own is as much slower than the model as its one stream (`single`)
    is; prompts only where it is the engine."""
    if phase.speed.fitted:
        return whole
    load = replace(load_of(phase.asked, whole), kind="closed", concurrency=1.0)
    found, single = whole.modelled(load), whole.single
    slower = derive(_ratio, "this engine's one stream over the model's", "ratio", own_s=single["tpot_s"],
                    modelled_s=float(found["tpot_s"]))
    if phase.engine.id in FITTED:
        return replace(whole, slower=slower)
    first = derive(_ratio, "this engine's prompt over the model's", "ratio", own_s=single["ttft_s"],
                   modelled_s=float(found["ttft_s"]))
    return replace(whole, slower=slower, slower_first=first)


def held_tokens(arch: Architecture, phase: ServePhase, layout: ServeLayout, tokens: float) -> float:
    """Tokens that the cache holds in requests of the lengths asked for, of those counted at the greatest length."""
    return tokens_at(arch, phase.recipe, layout, tokens, phase.speed.engine.held(
        phase.asked.input, phase.asked.output, phase.asked.output_lengths.spread))


def under_load(
    resolved: Resolved, phase: ServePhase, whole: Replicas, devices: int, weights_bytes: Any = 0.0
) -> tuple[dict[str, Any], list[Line], Traffic]:
    """Times, throughput, load, use and unit prices of a deployment; times are those of the busiest hour."""
    asked = phase.asked
    values, traffic = times(asked, whole)
    replay = None
    if asked.own_times:
        from outlay.planner.replay.use import own_load

        replay = own_load(resolved, phase, whole, values, traffic, weights_bytes)
        values |= replay.values
        traffic, asked, whole = replay.traffic, replay.asked, replay.deployed
        phase = replace(phase, asked=asked)
    elif asked.replayed and values.get("e2e_s") is not None:
        from outlay.planner.replay.spread import spread

        values |= spread(asked, phase, whole, values, resolved.seed)
    tell_replay(resolved, phase, values, whole.count * int(whole.layout.data) * whole.layout.pipeline, whole.count)
    watts = power_of(resolved, whole, load_of(asked, whole), traffic)
    left, own, held = devices - whole.devices, None, whole.devices
    if replay is not None:
        traffic, watts = replay.watts(asked, watts)
        held, left = replay.held, left if not asked.replay.scales else 0
    if asked.hourly is not None and resolved.rates is not None:
        from outlay.planner.serve.day import plan_day
        from outlay.planner.serve.hours import standing_of

        standing = standing_of(asked, whole, None if resolved.power is None else serve_power_facts(resolved.power))
        way, values["day"] = plan_day(resolved, phase, standing, values, traffic, watts, left, weights_bytes)
        traffic, watts, own = way.traffic, way.watts, way.lines
    use, lines = finish(resolved, phase, values, traffic, watts, held, left, own)
    use |= within_promises(asked, whole.own, load_of(asked, whole),
                           lambda at: most_load(at, replace(whole, count=1)), whole.count, use)
    return use | loads_shown(phase, whole), lines, traffic


def power_of(resolved: Resolved, whole: Replicas, load: Load, traffic: Traffic) -> dict[str, Quantity]:
    """Power by phase and energy of a token, of one replica."""
    rate = derive(_of_one, "output tokens a second of a replica", "tokens/s", rate_per_s=traffic.requests_per_s,
                  output=load.output, replicas=whole.count)
    power = whole.own_power(resolved.power, load, traffic.running)
    return power_values(power, whole.arch, whole.speed.device, whole.speed.engine, whole.layout, load, rate,
                        max(traffic.running, 1e-9))


def finish(
    resolved: Resolved,
    phase: ServePhase,
    values: dict[str, Any],
    traffic: Traffic,
    watts: dict[str, Quantity],
    used: Any,
    idle: int,
    own: list[Line] | None = None,
) -> tuple[dict[str, Any], list[Line]]:
    """What the times make of money, energy and promises; own: lines that are accounted already."""
    asked = phase.asked
    values |= percentile_keys(values) | {"input": asked.input, "output": asked.output} | power_shown(watts)
    lines: list[Line] = []
    kept = duration(asked, traffic, values.get("e2e_s"))
    if kept is not None and resolved.rates is not None:
        lines = serving_lines(resolved, traffic, kept, used, watts, idle) if own is None else own
        values |= unit_prices(asked, traffic, kept, lines, values.get("users"))
    values |= promises(asked.slo, asked.percentile, values)
    for name in by_mean(asked.percentile, values):
        resolved.notes.warn(f"serve.slo.{name}: the percentile {asked.percentile:g} of this load is not known; the "
                            "mean is held against the promise")
    values["sustained"] = not (values["saturated"] and asked.kind == "open")
    if not values["sustained"]:
        resolved.notes.warn(saturation(asked, values))
    return values, lines


def power_shown(watts: dict[str, Quantity]) -> dict[str, Any]:
    """Power and energy as the contract names them; null where the device's power is not known."""
    wanted = ("power_w_per_device", "energy_per_output_token_j", *(f"energy_{p}_per_output_token_j" for p in PHASES))
    return {name: watts.get(name) for name in wanted}


def promises(slo: dict[str, float], percentile: float | None, values: dict[str, Any]) -> dict[str, Any]:
    """Each limit with what is expected, whether all are kept and how likely; nothing where none was set.

    A percentile is held against that percentile where it is known, else against the mean, and `of` says which.
    """
    if not slo:
        return {}
    import numpy as np

    told, all_kept = {}, np.ones(DRAWS, dtype=bool)
    for name, limit in slo.items():
        key = "" if percentile is None else f"{name}_p{percentile:g}_s"
        of = f"p{percentile:g}" if values.get(key) is not None else "mean"
        value = values.get(key) if of != "mean" else values.get(f"{name}_s")
        kept = np.broadcast_to(value is not None and drawn_of(value) <= limit, DRAWS)
        all_kept &= kept
        told[name] = {
            "limit_s": limit,
            "value": value,
            "of": of,
            "met": value is not None and value.value <= limit,
            "met_probability": float(kept.mean()),
        }
    return {"slo": told, "meets_slo": all(x["met"] for x in told.values()),
            "meets_slo_probability": float(all_kept.mean())}


def by_mean(percentile: float | None, values: dict[str, Any]) -> list[str]:
    """Promises of a percentile that only a mean is held against."""
    if percentile is None:
        return []
    return [name for name, told in (values.get("slo") or {}).items() if told["of"] == "mean" and told["value"]]


def saturation(asked: Asked, values: dict[str, Any]) -> str:
    """Why there is no latency, or only that of a queue which the trace's end cuts off."""
    capacity = values["capacity_requests_per_s"]
    then = "the queue grows without end and no latency is given"
    if asked.trace is not None:
        then = "the queue grows as long as the trace lasts, and its times hold for this trace alone"
    return (
        f"serve.workload: {asked.rate:.3g} requests/s are more than the {capacity.value:.3g} [{capacity.low:.3g}–"
        f"{capacity.high:.3g}] that this deployment sustains: {then}"
    )


def loads_shown(phase: ServePhase, whole: Replicas) -> dict[str, Any]:
    """The table of loads beside the answer."""
    return {"loads": table_of_loads(phase.asked, whole)}


def _per_second(token_s: Any) -> Any:
    """Tokens a second of one request, after its first."""
    return 1.0 / token_s


def _of_one(rate_per_s: Any, output: Any, replicas: Any) -> Any:
    """Tokens a second that one replica answers."""
    return rate_per_s * output / replicas


def _as_one_device(modelled_s: Any, read_s: Any, one_device_s: Any, linked_s: Any) -> Any:
    """The time model, as much longer as reading takes on one device than it says; the host's link as it is."""
    return (modelled_s - linked_s) * read_s / one_device_s + linked_s


def _ratio(own_s: Any, modelled_s: Any) -> Any:
    """What the engine itself takes over what the model of the fitted ones says."""
    return own_s / modelled_s
