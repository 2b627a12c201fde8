"""Lengths of fine-tuning rows: given, or read from a person's own file; and the tokens of an epoch."""

from __future__ import annotations

from msgspec import Struct

from outlay.errors import BadValue, Inconsistent
from outlay.readers.row_lengths import CHARACTERS_A_TOKEN, RowLengths, row_lengths
from outlay.resolve.notes import Notes
from outlay.scenario import Finetune
from outlay.steps.tune.trained import Procedure, Rollout

FIELD = "finetune.data_file"
WITH_REPLAY = ("sft", "distill")


class Lengths(Struct, frozen=True):
    """Tokens of the rows a step sees: what memory must hold and what time is spent on."""

    longest: int
    mean: float  # tokens of a row as computed, padding to the longest of its micro-batch included
    document: float  # tokens of one example before packing
    mean_square: float
    rows: float | None  # examples in an epoch


class EpochTokens(Struct, frozen=True):
    """Tokens trained in an epoch, and those of them that are replayed or kept on disk."""

    new: float
    replayed: float
    stored: float  # of the new ones: written responses are not kept

    @property
    def trained(self) -> float:
        return self.new + self.replayed


def file_lengths(given: Finetune, writes: bool, notes: Notes) -> RowLengths | None:
    """Lengths of the rows of `data_file`, which are prompts where responses are written; None without a file."""
    if given.data_file is None:
        return None
    for name in ("longest", "examples", "tokens") if writes else ("longest", "mean", "examples", "tokens"):
        if getattr(given, name) is not None:
            raise BadValue(f"finetune.{name}: the lengths come from finetune.data_file; give one of the two",
                           f"finetune.{name}")
    read = row_lengths(given.data_file, FIELD)
    notes.assume(FIELD, read.rows, f"{'prompts' if writes else 'rows'} read, {read.moment(1, read.longest):.0f} tokens "
                 f"on average and {read.longest} at most; text counted at {CHARACTERS_A_TOKEN:g} characters a token "
                 "where the file gives no length")
    return read


def lengths_of(given: Finetune, read: RowLengths | None, sequence: int, packing: bool, micro_batch: int,
               notes: Notes) -> Lengths:
    """Lengths of rows. Packed rows are full; others are cut at the sequence length and padded to their batch."""
    if read is not None:
        return _from_file(read, sequence, packing, micro_batch, notes)
    longest = min(given.longest or sequence, sequence)
    mean = given.mean
    if mean is None:
        mean = float(sequence) if packing else float(longest)
        if not packing and given.longest is None:
            notes.assume("finetune.mean", sequence, "every row taken as long as sequence_length; give mean and "
                         "longest, or a data_file, where rows are shorter")
    if mean > longest and not packing:
        raise BadValue(f"finetune.mean: {mean:g} is above the longest row of {longest:g} tokens", "finetune.mean")
    if packing:
        return Lengths(sequence, float(sequence), min(mean, sequence), min(mean, sequence) ** 2, given.examples)
    return Lengths(int(longest), float(mean), float(mean), float(mean) ** 2, given.examples)


def _from_file(read: RowLengths, sequence: int, packing: bool, micro_batch: int, notes: Notes) -> Lengths:
    if cut := read.longer_than(sequence):
        notes.warn(f"{FIELD}: {cut} of {read.rows} rows are longer than sequence_length {sequence} and are cut there")
    mean, square, rows = read.moment(1, sequence), read.moment(2, sequence), float(read.rows)
    if packing:
        return Lengths(sequence, float(sequence), mean, square, rows)
    return Lengths(min(read.longest, sequence), read.padded_mean(micro_batch, sequence), mean, square, rows)


def rollout_lengths(given: Finetune, rollout: Rollout, read: RowLengths | None, sequence: int, packing: bool,
                    micro_batch: int) -> Lengths:
    """Rows of prompt and written response."""
    mean = rollout.prompt + rollout.mean
    longest = min(int(given.longest or rollout.longest_prompt + rollout.longest), sequence)
    if packing:  # without padding a micro-batch holds about the mean; one deviation of it for the fullest
        longest = min(longest, round(mean * (1.0 + micro_batch**-0.5)))
    rows = given.examples if read is None else float(read.rows)
    return Lengths(longest, min(mean, longest), mean, mean**2, rows)


def epoch_tokens(given: Finetune, lengths: Lengths, procedure: Procedure, notes: Notes) -> EpochTokens | None:
    """Tokens of an epoch: an example may be a pair, or a prompt with several responses; None when nothing says.

    A replay share r of what is trained is drawn from the earlier mixture, so the new tokens are 1 - r of the whole
    (Ibrahim et al. 2024, arXiv:2403.08763).
    """
    share = replay_share(given, procedure.algorithm)
    if given.tokens is not None and given.examples is not None:
        raise Inconsistent("finetune.tokens: give tokens or examples, not both", "finetune.tokens")
    if given.tokens is not None:
        new = float(given.tokens)
    elif lengths.rows is not None:
        new = float(lengths.rows) * lengths.document * procedure.rows * procedure.samples
    else:
        notes.warn("finetune.examples: not given, so only one step is planned; give examples or tokens of an "
                   "epoch for time, money and energy")
        return None
    if share:
        notes.assume("finetune.replay_share", share, f"of all tokens trained; replayed rows are as long as the new "
                     f"ones, {lengths.document:.0f} tokens, drawn anew in each epoch and kept beside them")
    stored = new
    if procedure.rollout is not None:
        stored *= procedure.rollout.prompt / lengths.document / procedure.samples
    return EpochTokens(new, new * share / (1.0 - share), stored)


def replay_share(given: Finetune, algorithm: str) -> float:
    """Share of the tokens trained that are replayed; BadValue where the algorithm has none."""
    if given.replay_share is None:
        return 0.0
    if algorithm not in WITH_REPLAY:
        raise BadValue(f"finetune.replay_share: has no meaning with algorithm {algorithm}; it belongs to "
                       f"{', '.join(WITH_REPLAY)}", "finetune.replay_share")
    return float(given.replay_share)
