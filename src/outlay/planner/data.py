"""The data plan: tokens and bytes stage by stage, the work done on them, where they rest; then accounted."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from outlay.account import account, totals
from outlay.derive import Quantity, add_all, derive, exact, value_of
from outlay.errors import BadValue
from outlay.physics import storage as st
from outlay.physics.upkeep import person_s
from outlay.planner.needs import busy, device_work, hours_of, use
from outlay.resolve.data.phase import YEAR_S, DataPhase
from outlay.resolve.record import Resolved
from outlay.usage import Line, Usage

PHASE = "data"


def plan_data(resolved: Resolved, serve: dict[str, Any] | None = None) -> tuple[dict[str, Any], list[Line]]:
    """Everything the result says of the data phase, and its lines.

    serve: the serving plan of the same scenario, whose rate writes synthetic text where no other is given.
    Raises BadValue where devices are needed and no fleet is named.
    """
    phase, rates = resolved.data, resolved.rates
    assert phase is not None and rates is not None
    rates = replace(rates, usd_per_unit={**rates.usd_per_unit, **phase.prices}, core_w=phase.core_w)
    stages = _stages(phase)
    usages = [
        *_cleaning(resolved, phase, stages),
        *_written(resolved, phase, serve or {}),
        *_pieces(resolved, phase),
        *_people(resolved, phase),
        *_stored(resolved, phase, stages),
    ]
    lines = account(usages, rates)
    resting = add_all("corpus kept", "bytes", *(stages[name]["bytes"] for name in ("text", "tokenised")))
    values: dict[str, Any] = {
        "tokens": exact(phase.tokens, "tokens", "tokens", basis="given"),
        "cleaned_tokens": exact(phase.cleaned, "tokens", "tokens cleaned from the web", basis="given"),
        "sources": [
            {"name": s.name, "tokens": s.tokens, "bytes": s.text_bytes, "licence": s.licence} for s in phase.sources
        ],
        "stages": stages,
        "corpus_bytes": resting,
        "elapsed_s": phase.duration_s,
        "retention_s": phase.storage.retention_s,
        "core_hours": hours_of(lines, "core_s", "core-hours"),
        "person_hours": hours_of(lines, "person_s", "person-hours"),
    }
    _tell_late(resolved, phase, lines)
    sums = totals(lines)
    values["device_hours"] = sums["device_hours"]
    usd = sums["usd"]
    if usd is not None and phase.tokens:
        values["usd_per_million_tokens"] = derive(
            _per_million, "money per million tokens", "USD", usd=usd, tokens=phase.tokens
        )
    return values, lines


def _tell_late(resolved: Resolved, phase: DataPhase, lines: list[Line]) -> None:
    """Work that the fleet cannot do in the time given is said."""
    held = sum(x.usage.quantity.value for x in lines if x.usage.resource == "device_s")
    if resolved.hardware is None or held <= resolved.hardware.devices * phase.duration_s.value:
        return
    days = held / resolved.hardware.devices / 86_400.0
    given = phase.duration_s.value / 86_400.0
    resolved.notes.warn(
        f"data.duration: the devices' work on the data takes {days:,.0f} days on this fleet, longer than the "
        f"{given:,.0f} days given to it"
    )


def _per_million(usd: Any, tokens: Any) -> Any:
    """Money over millions of tokens."""
    return usd / tokens * 1e6


# ---------------------------------------------------------------- tokens and bytes


def _stages(phase: DataPhase) -> dict[str, dict[str, Quantity]]:
    """Tokens and bytes after each stage, raw first; what comes from corpora and models joins at the text."""
    found: dict[str, dict[str, Quantity]] = {}
    if phase.cleaned:
        tokens: Quantity = exact(phase.cleaned, "tokens", "tokens cleaned from the web", basis="given")
        after = {}
        for name in reversed(phase.kept):
            after[name] = tokens
            tokens = derive(st.tokens_before, f"tokens before: {name}", "tokens", tokens=tokens, kept=phase.kept[name])
        after["extracted"] = tokens
        raw = derive(st.raw_bytes, "web archive", "bytes", tokens=tokens, raw_bytes_per_token=phase.raw_bytes_per_token)
        found["raw"] = {"bytes": raw}
        for name in ("extracted", *phase.kept):
            found[name] = {
                "tokens": after[name],
                "bytes": derive(
                    st.dataset_bytes,
                    f"text, {name}",
                    "bytes",
                    tokens=after[name],
                    bytes_per_token=phase.text_bytes_per_token,
                ),
            }
    texts = [s.text_bytes for s in phase.sources]
    own = phase.tokens - sum(s.tokens for s in phase.sources)  # cleaned or written
    if own > 0:
        texts.append(
            derive(
                st.dataset_bytes,
                "text of one's own",
                "bytes",
                tokens=exact(own, "tokens", "tokens"),
                bytes_per_token=phase.text_bytes_per_token,
            )
        )
    whole = exact(phase.tokens, "tokens", "tokens", basis="given")
    found["text"] = {"tokens": whole, "bytes": add_all("text", "bytes", exact(0.0, "bytes", "nothing"), *texts)}
    found["tokenised"] = {
        "tokens": whole,
        "bytes": derive(st.dataset_bytes, "tokenised", "bytes", tokens=whole, bytes_per_token=phase.bytes_per_token),
    }
    return found


# ---------------------------------------------------------------- work


def _cleaning(resolved: Resolved, phase: DataPhase, stages: dict[str, dict[str, Quantity]]) -> list[Usage]:
    """Gathering and cleaning a web archive, scoring it, and the runs that chose the filters."""
    long_s, usages = phase.duration_s.value, []
    if phase.cleaned:
        raw = stages["raw"]["bytes"]
        cores = derive(
            st.cleaning_core_s,
            "core-seconds of cleaning",
            "s",
            raw_bytes=raw,
            core_hours_per_byte=phase.core_hours_per_byte,
        )
        usages += [
            use(PHASE, "crawl", "transfer_bytes", raw, "bytes", resolved.place, 0.0, long_s, "crawl"),
            use(PHASE, "cleaning", "core_s", cores, "s", resolved.place, 0.0, long_s),
        ]
    if phase.classifier:
        usages += device_work(resolved, PHASE, "classifier", _scoring(resolved, phase, stages), 0.0, long_s)
    if phase.ablation_device_hours:
        held = derive(
            _seconds,
            "device-seconds of ablations",
            "s",
            hours=exact(phase.ablation_device_hours, "h", "device-hours of ablations", basis="given"),
        )
        usages += device_work(resolved, PHASE, "ablations", held, 0.0, long_s)
    return usages


def _scoring(resolved: Resolved, phase: DataPhase, stages: dict[str, dict[str, Quantity]]) -> Quantity:
    """Device-seconds of the classifier over what reaches it: the filtered text, or else the whole corpus."""
    if "device_hours" in phase.classifier:
        given_s: Quantity = derive(
            _seconds, "device-seconds of the classifier", "s", hours=phase.classifier["device_hours"]
        )
        return given_s
    hw = busy(resolved, "data.classifier")
    read = stages["filtered" if phase.cleaned else "text"]["tokens"]
    held: Quantity = derive(
        st.scoring_device_s,
        "device-seconds of the classifier",
        "s",
        parameters=phase.classifier["parameters"],
        tokens=read,
        peak_flop_per_s=hw.peak_flop_per_s,
        utilization=phase.classifier["utilization"],
    )
    return held


def _seconds(hours: Any) -> Any:
    """Hours as seconds."""
    return hours * 3600.0


def _written(resolved: Resolved, phase: DataPhase, serve: dict[str, Any]) -> list[Usage]:
    """Synthetic text: bought by the token, or generated on the fleet."""
    own, long_s = phase.synthetic, phase.duration_s.value
    if not own:
        return []
    out = exact(own["tokens"], "tokens", "tokens written", basis="given")
    read = derive(_product, "prompt tokens", "tokens", tokens=out, each=own["input_per_output"])
    if own.get("bought"):
        return [
            use(PHASE, "synthetic", "tokens_out", out, "tokens", resolved.place, 0.0, long_s, "synthetic"),
            use(PHASE, "synthetic", "tokens_in", read, "tokens", resolved.place, 0.0, long_s, "synthetic"),
        ]
    rate = own["tokens_per_s_per_device"] or _sustained(serve)
    if rate is None:
        raise BadValue(
            "data.synthetic.tokens_per_s_per_device: needed, or usd_per_million_tokens; or add a serve "
            "phase whose rate is then taken",
            "data.synthetic",
        )
    if own["tokens_per_s_per_device"] is None:
        why = "what this scenario's serve phase sustains at most, at its own lengths of prompts and answers"
        resolved.notes.assume("data.synthetic.tokens_per_s_per_device", rate, why)
    held = derive(_over, "device-seconds of writing", "s", tokens=out, rate=rate)
    return device_work(resolved, PHASE, "synthetic", held, 0.0, long_s)


def _sustained(serve: dict[str, Any]) -> Quantity | None:
    """Tokens a second that one device of a serving plan writes at most; None where the plan does not say."""
    requests, used = serve.get("capacity_requests_per_s"), serve.get("devices_used")
    if not isinstance(requests, Quantity) or not used or serve.get("output") is None:
        return None
    found: Quantity = derive(_rate, "tokens a second and device, at most", "tokens/s", requests_per_s=requests,
                             tokens=value_of(serve["output"]), devices=float(used))
    return found


def _rate(requests_per_s: Any, tokens: Any, devices: Any) -> Any:
    """Requests a second by the tokens of each, over the devices."""
    return requests_per_s * tokens / devices


def _product(tokens: Any, each: Any) -> Any:
    """Tokens times what each of them needs."""
    return tokens * each


def _over(tokens: Any, rate: Any) -> Any:
    """Tokens over the rate of one device."""
    return tokens / rate


def _pieces(resolved: Resolved, phase: DataPhase) -> list[Usage]:
    """Annotation and licences; a yearly licence runs from the start until the corpus is given up."""
    usages = []
    whole_s = _whole_s(phase)
    for piece in phase.pieces:
        amount, span_s = piece.amount, phase.duration_s.value
        if piece.yearly:
            span_s = whole_s if piece.years is None else min(whole_s, piece.years * YEAR_S)
            amount = exact(span_s / YEAR_S, "years", f"years of {piece.rate}", basis="given")
        usages.append(use(PHASE, piece.item, "items", amount, "items", resolved.place, 0.0, span_s, piece.rate))
    return usages


def _people(resolved: Resolved, phase: DataPhase) -> list[Usage]:
    if not phase.engineers:
        return []
    worked = derive(
        person_s,
        "working time on the data",
        "s",
        people=exact(phase.engineers, "", "people", basis="given"),
        duration_s=phase.duration_s,
        hours_per_year=phase.hours_per_year,
    )
    return [use(PHASE, "people", "person_s", worked, "s", resolved.place, 0.0, phase.duration_s.value)]


# ---------------------------------------------------------------- rest


def _whole_s(phase: DataPhase) -> float:
    """From the first byte to the end of retention."""
    return max(phase.duration_s.value, phase.storage.retention_s.value)


def _stored(resolved: Resolved, phase: DataPhase, stages: dict[str, dict[str, Quantity]]) -> list[Usage]:
    """Bytes at rest by stage, requests to write and read them, and bytes taken out."""
    store, long_s, usages = phase.storage, phase.duration_s.value, []
    copies = float(store.copies)
    raw_s = long_s if store.raw_retention_s is None else store.raw_retention_s
    spans = {"raw": raw_s, "text": _whole_s(phase), "tokenised": _whole_s(phase)}
    written = []
    for name, stage in stages.items():
        span_s = spans.get(name, long_s)  # what lies between is kept while the data is made
        if (name == list(phase.kept)[-1] and phase.cleaned) or stage["bytes"].value == 0 or span_s == 0:
            continue  # the last stage of cleaning is the text
        held = derive(
            _held, f"{name}, bytes times time", "byte·s", stored_bytes=stage["bytes"], stored_s=span_s, copies=copies
        )
        usages.append(
            use(
                PHASE,
                f"storage {name}",
                "storage_byte_s",
                held,
                "byte·s",
                resolved.place,
                0.0,
                span_s,
                "data",
                "storage",
            )
        )
        written.append(stage["bytes"])
    if not written:
        return usages
    stored = add_all("bytes written", "bytes", *written)
    read = derive(_reads, "bytes read", "bytes", size=stages["tokenised"]["bytes"], reads=store.reads)
    for item, kind, moved in (("put requests", "put", stored), ("get requests", "get", read)):
        count = derive(st.object_requests, item, "requests", moved_bytes=moved, object_bytes=store.object_bytes)
        usages.append(use(PHASE, item, "requests", count, "requests", resolved.place, 0.0, long_s, kind, "storage"))
    if store.egress:
        out = derive(_reads, "bytes taken out", "bytes", size=stages["tokenised"]["bytes"], reads=store.egress)
        usages.append(
            use(PHASE, "egress", "transfer_bytes", out, "bytes", resolved.place, long_s, 0.0, "egress", "storage")
        )
    return usages


def _held(stored_bytes: Any, stored_s: Any, copies: Any) -> Any:
    """Bytes times the time they are kept, every copy."""
    return st.byte_seconds(stored_bytes, stored_s) * copies


def _reads(size: Any, reads: Any) -> Any:
    """A size, so many times over."""
    return size * reads
