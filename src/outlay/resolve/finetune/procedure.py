"""Algorithms of post-training: which models stand beside the one that is trained, and what each does in a step."""

from __future__ import annotations

from typing import Any

from outlay.architecture import Architecture
from outlay.catalog import Catalog
from outlay.derive import Quantity
from outlay.errors import BadValue, Inconsistent, OutlayError, suggestion
from outlay.readers.row_lengths import RowLengths
from outlay.resolve.model import resolve_model
from outlay.resolve.notes import Notes
from outlay.scenario import Finetune, Layout
from outlay.scenario import Rollout as GivenRollout
from outlay.steps.tune.trained import Companion, Procedure, Rollout

PAIRS = ("dpo", "orpo")  # a preferred and a rejected answer are trained together
WITH_REFERENCE = ("dpo", "kto", "ppo", "grpo")
WITH_ROLLOUT = ("ppo", "grpo")
PRECOMPUTED = "precomputed"
REFERENCE_LOGIT_BYTES = 6.0  # 16-bit logits and their fp32 log-softmax while both models' are compared
GROUP = 8  # responses GRPO compares, as in the recipes of its trainers
ENGINES = ("vllm", "sglang", "trtllm", "transformers")


def responses(given: Finetune) -> int:
    """Responses to each prompt: as given, a group of eight for GRPO, else one."""
    if given.algorithm not in WITH_ROLLOUT:
        return 1
    own = given.rollout.samples if given.rollout is not None else None
    return own or (GROUP if given.algorithm == "grpo" else 1)


def examples_a_step(given: Finetune, devices: int) -> int:
    """Prompts of one step, before how often each is answered; splits of the layout count as given."""
    if given.global_batch is not None:
        return int(given.global_batch)
    layout = given.layout or Layout()
    split = (layout.tensor or 1) * (layout.pipeline or 1) * (layout.context or 1)
    if given.rollout is not None and given.rollout.colocate is False:
        devices //= 2
    own = given.micro_batch or layout.micro_batch or 1
    whole = own * (given.gradient_accumulation or 1) * (layout.data or max(devices // split, 1))
    return max(whole // responses(given), 1)


class Procedures:
    """Reads the fields of an algorithm; `choose` notes a default and shows the field."""

    def __init__(self, given: Finetune, arch: Architecture, catalog: Catalog, notes: Notes, rows: dict[str, Any],
                 seed: int, shown: dict[str, Any], prompts: RowLengths | None = None) -> None:
        self.given, self.arch, self.catalog, self.notes = given, arch, catalog, notes
        self.rows, self.seed, self.shown, self.prompts = rows, seed, shown, prompts

    def algorithm(self) -> str:
        name = self.given.algorithm
        if name is None:
            self.notes.assume("finetune.algorithm", "sft", "supervised fine-tuning unless another is named")
            name = "sft"
        self.shown["algorithm"] = name
        for field, known in (("reference", WITH_REFERENCE), ("rollout", WITH_ROLLOUT), ("teacher", ("distill",))):
            if getattr(self.given, field) is not None and name not in known:
                raise BadValue(f"finetune.{field}: has no meaning with algorithm {name}; it belongs to "
                               f"{', '.join(known)}", f"finetune.{field}")
        return name

    def procedure(self, adapters: bool, epochs: float, sequence: int, devices: int, examples: float) -> Procedure:
        """What the algorithm does beside training; examples: those of one step."""
        name = self.algorithm()
        companions: list[Companion] = []
        reference = self.reference(name, adapters, epochs)
        if reference is not None:
            companions.append(reference)
        if name == "distill":
            companions.append(Companion("teacher", self.teacher(), 1.0))
        if name == "ppo":
            self.notes.assume("finetune.critic", self.arch.name, "the critic has the shape of the trained model and is "
                              "trained by the same method")
            self.notes.assume("finetune.reward", self.arch.name, "the reward model has the shape of the trained model")
            companions += [Companion("critic", self.arch, 1.0, trained=True), Companion("reward", self.arch, 1.0)]
        if name == "grpo":
            self.notes.assume("finetune.reward", "rules", "rewards are computed by rules, without a model")
        rollout, samples = None, 1
        if name in WITH_ROLLOUT:
            rollout, samples = self.rollout(name, sequence, devices, examples)
        return Procedure(name, rows=2 if name in PAIRS else 1, samples=samples,
                         own_forwards={"kto": 1.0, "ppo": 1.0, "grpo": 1.0}.get(name, 0.0),
                         companions=tuple(companions), rollout=rollout)

    def reference(self, name: str, adapters: bool, epochs: float) -> Companion | None:
        if name not in WITH_REFERENCE:
            return None
        given = self.given.reference
        if given is None:
            given = True
            self.notes.assume("finetune.reference", True, "the model before training, " + (
                "which is the base with its adapters off" if adapters else "kept beside the one that is trained"))
        self.shown["reference"] = given
        if given is False or given == "none":
            return None
        often = 2.0 if name == "kto" else 1.0  # KTO reads mismatched answers too
        if given == PRECOMPUTED:
            if name in WITH_ROLLOUT:
                raise Inconsistent(f"finetune.reference: answers of {name} are new in every step, so nothing can be "
                                   "precomputed", "finetune.reference")
            self.notes.assume("finetune.reference", PRECOMPUTED, "log-probabilities computed once before training, "
                              "their time spread over the epochs")
            return Companion("reference", self.arch, often / max(epochs, 1.0), own_weights=False)
        if given is True or given == "true":
            return Companion("reference", self.arch, often, own_weights=not adapters)
        return Companion("reference", self.model(str(given), "finetune.reference"), often)

    def teacher(self) -> Architecture:
        if self.given.teacher is None:
            raise BadValue("finetune.teacher: distillation needs the model to learn from", "finetune.teacher")
        self.shown["teacher"] = self.given.teacher
        return self.model(self.given.teacher, "finetune.teacher")

    def model(self, name: str, field: str) -> Architecture:
        try:
            return resolve_model(name, self.catalog, Notes())[0]
        except OutlayError as error:
            raise type(error)(f"{field}: {error.message}", field) from None

    def rollout(self, name: str, sequence: int, devices: int, examples: float) -> tuple[Rollout, int]:
        given = self.given.rollout or GivenRollout()
        shown: dict[str, Any] = {}

        def choose(field: str, default: Any, why: str) -> Any:
            value = getattr(given, field)
            if value is None:
                self.notes.assume(f"finetune.rollout.{field}", default, why)
                value = default
            shown[field] = value
            return value

        engine = str(choose("engine", "vllm", "the most used rollout engine"))
        if engine not in ENGINES:
            raise BadValue(f"finetune.rollout.engine: {engine!r} is not one of {', '.join(ENGINES)}"
                           f"{suggestion(engine, ENGINES)}", "finetune.rollout.engine")
        samples = int(choose("samples", responses(self.given), "responses to each prompt"))
        left = max(sequence // 2, 1) if self.prompts is None else max(sequence - self.prompts.longest, sequence // 2, 1)
        longest = int(choose("max_response", left, "half of sequence_length, the rest is the prompt"
                             if self.prompts is None else "what the longest prompt leaves, half at least"))
        if longest >= sequence:
            raise BadValue(f"finetune.rollout.max_response: {longest} leaves no room for a prompt in a sequence of "
                           f"{sequence}", "finetune.rollout.max_response")
        colocate = bool(choose("colocate", True, "training and writing take turns on the same devices"))
        tensor = int(choose("tensor", 1, "one device a replica"))
        used = devices if colocate else devices // 2
        if not colocate:
            if devices < 2 or devices % 2:
                raise BadValue("finetune.rollout.colocate: a split fleet needs an even number of devices",
                               "finetune.rollout.colocate")
            self.notes.assume("finetune.rollout.devices", used, "half of the fleet writes, the other half trains; each "
                              "waits for the other")
        if used % tensor:
            raise BadValue(f"finetune.rollout.tensor: {tensor} does not divide the {used} devices that write",
                           "finetune.rollout.tensor")
        self.shown["rollout"] = shown
        most = float(sequence - longest)
        prompt, longest_prompt = self.prompt_lengths(most)
        mean = longest / 2.0
        if self.given.mean is not None:
            mean = min(max(float(self.given.mean) - prompt, 1.0), float(longest))
        else:
            self.notes.assume("finetune.mean", round(prompt + mean), "responses half as long as allowed, exponentially "
                              "distributed; the longest keep the engine waiting")
        step = self.quantity(f"rollout_step_s.{engine}")
        return Rollout(engine, tensor, used, colocate, examples * samples, prompt, mean, float(longest), step,
                       self.quantity("rollout_utilisation"), longest_prompt), samples

    def prompt_lengths(self, most: float) -> tuple[float, float]:
        """Tokens of the mean and of the longest prompt: those of the file, or as long as a row leaves room for."""
        if self.prompts is None:
            return most, most
        if cut := self.prompts.longer_than(int(most)):
            self.notes.warn(f"finetune.data_file: {cut} of {self.prompts.rows} prompts are longer than the {most:.0f} "
                            "tokens that sequence_length leaves beside max_response, and are cut there")
        return self.prompts.moment(1, int(most)), min(float(self.prompts.longest), most)

    def quantity(self, name: str) -> Quantity:
        found: Quantity = self.rows[name].quantity(self.seed)
        return found


def companion_bytes(procedure: Procedure, arch: Architecture, own: dict[str, float], wide: float) -> dict[str, float]:
    """What companions add to the bytes a parameter: a critic all that the trained model has, others their weights."""
    found = dict(own)
    for one in procedure.companions:
        if one.trained:
            for name in ("weight_bytes", "gradient_bytes", "optimizer_bytes"):
                found[name] += own[name]
        elif one.own_weights:
            found["weight_bytes"] += wide * one.architecture.parameters / arch.parameters
    return found


def extra_logit_bytes(procedure: Procedure, arch: Architecture) -> float:
    """Bytes of other models' logits at the loss, a logit of the trained model."""
    found = 0.0
    for one in procedure.companions:
        if one.role == "teacher":
            found += REFERENCE_LOGIT_BYTES * one.architecture.vocab / arch.vocab
        elif one.role == "reference" and procedure.algorithm in ("dpo", "kto") and one.forwards >= 1.0:
            found += REFERENCE_LOGIT_BYTES
    return found
