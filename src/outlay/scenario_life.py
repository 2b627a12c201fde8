"""The records of what surrounds a training run: the data it needs, keeping a model up, and the years of its life."""

from __future__ import annotations

from typing import Literal

from outlay.scenario_kinds import (
    Bytes,
    Cadence,
    Change,
    Count,
    Degree,
    Factor,
    Fraction,
    Fte,
    Positive,
    Record,
    Seconds,
    SecondsOrZero,
    Share,
    Throughput,
    Usd,
    Years,
)


class Corpus(Record, frozen=True):
    """A known data set, whole or `tokens` of it."""

    name: str
    tokens: Positive | None = None


class Deal(Record, frozen=True):
    """A licence of one's own: paid once, by the year, or both."""

    name: str
    usd: Usd | None = None
    usd_per_year: Usd | None = None
    years: Years | None = None


class Yields(Record, frozen=True):
    """What each stage keeps: raw bytes behind one extracted token, then shares of tokens kept."""

    raw_bytes_per_token: Factor | None = None
    deduplicated: Share | None = None
    filtered: Share | None = None
    classified: Share | None = None


class Classifier(Record, frozen=True):
    """A small model that scores documents on the fleet, by its size or by device-hours measured."""

    parameters: Positive | None = None
    utilization: Share | None = None
    device_hours: Positive | None = None


class Synthetic(Record, frozen=True):
    """Text written by a model: bought by the token, or generated on the fleet at a rate."""

    tokens: Positive
    input_per_output: Factor | None = None
    keep: Share | None = None
    usd_per_million_tokens: Usd | None = None
    tokens_per_s_per_device: Throughput | None = None


class Annotation(Record, frozen=True):
    """What people (or models) write and judge, by the piece or by the hour."""

    preferences: Count | None = None
    usd_per_preference: Usd | None = None
    demonstrations: Count | None = None
    usd_per_demonstration: Usd | None = None
    ai_labels: Count | None = None
    usd_per_ai_label: Usd | None = None
    hours: Positive | None = None
    usd_per_hour: Usd | None = None


class Storage(Record, frozen=True):
    """Where the corpus rests, for how long, and how often it is read and taken out."""

    tier: str | None = None
    usd_per_tb_month: Usd | None = None
    egress_usd_per_tb: Usd | None = None
    retention: Seconds | None = None
    raw_retention: SecondsOrZero | None = None
    copies: Degree | None = None
    object_bytes: Bytes | None = None
    reads: Factor | None = None
    egress: Factor | None = None


class Data(Record, frozen=True):
    """The corpus: where its tokens come from, what is done to them, where they rest and who is paid for them."""

    tokens: Positive | None = None
    datasets: list[str | Corpus] | None = None
    bytes_per_token: Factor | None = None
    text_bytes_per_token: Factor | None = None
    yields: Yields | None = None
    crawl_usd_per_tb: Usd | None = None
    core_hours_per_tb: Factor | None = None
    usd_per_core_hour: Usd | None = None
    classifier: Classifier | None = None
    ablation_device_hours: Factor | None = None
    synthetic: Synthetic | None = None
    annotation: Annotation | None = None
    licences: list[str | Deal] | None = None
    storage: Storage | None = None
    engineers: Fte | None = None
    usd_per_engineer_year: Usd | None = None
    duration: Seconds | None = None


class Refresh(Record, frozen=True):
    """Training again on what is new, at a fixed cadence or when quality has drifted too far."""

    every: Cadence | None = None
    drift_per_year: Share | None = None
    tolerance: Share | None = None
    phase: Literal["pretrain", "finetune"] | None = None
    tokens: Positive | None = None
    share: Share | None = None
    replay: Fraction | None = None
    device_hours: Positive | None = None


class Evaluate(Record, frozen=True):
    """An evaluation suite, by name or by its price: how often, how many times over, and after every change."""

    suite: str | None = None
    usd: Usd | None = None
    device_hours: Positive | None = None
    every: Cadence | None = None
    repeats: Degree | None = None
    after_changes: bool | None = None


class Mitigate(Record, frozen=True):
    """A round against bias or harm: annotation, a part of the fine-tune again, and evaluation again."""

    every: Cadence
    preferences: Count | None = None
    usd_per_preference: Usd | None = None
    finetune_share: Fraction | None = None
    device_hours: Positive | None = None


class RedTeam(Record, frozen=True):
    """Attack by people: a price an engagement, or weeks of their work."""

    every: Cadence
    usd: Usd | None = None
    engineer_weeks: Factor | None = None


class Migrate(Record, frozen=True):
    """Moving when a provider shuts a model down: how long models live, and the work of one move."""

    provider: str | None = None
    lifetime: Cadence | None = None
    engineer_weeks: Factor | None = None


class Monitor(Record, frozen=True):
    """Watching it run: a service by the month, and logs that are kept."""

    usd_per_month: Usd | None = None
    log_bytes_per_day: Bytes | None = None
    retention: Seconds | None = None


class Maintain(Record, frozen=True):
    """Keeping a model up: retraining, evaluation, mitigation, red-teaming, migration, people, idle hosting."""

    years: Years | None = None
    refresh: Refresh | None = None
    evaluate: Evaluate | None = None
    mitigate: Mitigate | None = None
    red_team: RedTeam | None = None
    migrate: Migrate | None = None
    monitor: Monitor | None = None
    engineers: Fte | None = None
    on_call: Fte | None = None
    usd_per_engineer_year: Usd | None = None
    idle_devices: Degree | None = None


class Retire(Record, frozen=True):
    """The end: weights and data kept for a while, and the work of closing."""

    archive: SecondsOrZero | None = None
    engineer_weeks: Factor | None = None


class Life(Record, frozen=True):
    """All phases on a calendar: how long, from when, and how use grows."""

    years: Years | None = None
    start: str | None = None
    end: str | None = None
    growth_per_year: Change | None = None
    load: Share | None = None  # of a replica, at which another one is added
    discount_per_year: Fraction | None = None
    serve_from: SecondsOrZero | None = None
    serve_devices: Degree | None = None  # kept for serving; default all of the fleet
    engineers: Fte | None = None
    usd_per_engineer_year: Usd | None = None
    retire: Retire | None = None
