"""How often the gate promotes what it should not, and what it should: simulated, by the gate's own limits and checks.

Run as `python benchmarks/gate.py --simulations 4000`. Differences between two models are drawn from stated
distributions (`KINDS`), with many ties and heavy tails as tables of scores have them; docs/gate.md keeps what came out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import yaml
from numpy.typing import NDArray
from scipy.stats import t as student

from backbeat.gate.paired import Differences, fall_probability, lower_limits
from backbeat.gate.settings import GateSettings
from backbeat.settings import read_settings
from backbeat.statistics import Interval, holm, proportion_interval

Table = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int], float], Table]
CONF = Path(__file__).resolve().parents[1] / "conf/gate/default.yaml"
#: Comparisons that share the draws of their limits; each lot has a seed of its own.
LOT = 250


def settings(**changed: object) -> GateSettings:
    """Return the gate's settings as they ship, with changes."""
    return read_settings(GateSettings, {**yaml.safe_load(CONF.read_text(encoding="utf-8")), **changed})


def fine_tuned(random: np.random.Generator, shape: tuple[int, int], shift: float) -> Table:
    """Beats after fine-tuning: 70 % of tracks the same, the others by Student's t with 3 degrees, times 0.05."""
    changed = random.random(shape) >= 0.7
    return np.where(changed, np.clip(0.05 * random.standard_t(3, shape), -1, 1) + shift / 0.3, 0.0)


def retrained(random: np.random.Generator, shape: tuple[int, int], shift: float) -> Table:
    """Beats after training anew: 20 % ties, 70 % off by 0.02 or so, 10 % take another octave (0.3 to 0.7)."""
    kind = random.random(shape)
    octave = random.uniform(0.3, 0.7, shape) * random.choice([-1.0, 1.0], shape)
    found = np.where(kind < 0.9, random.normal(0, 0.02, shape), octave)
    return np.where(kind < 0.2, 0.0, found) + shift


def right_or_wrong(random: np.random.Generator, shape: tuple[int, int], shift: float) -> Table:
    """Genres: 80 % of tracks answered alike, the others right by one side alone."""
    kind = random.random(shape)
    return (kind < 0.1 + shift / 2).astype(np.float64) - (kind > 0.9 + shift / 2)


def by_source(random: np.random.Generator, shape: tuple[int, int], shift: float) -> Table:
    """Draw the mean of a source whose tracks share half of the spread; `SIZES` says how many tracks there are."""
    return fine_tuned(random, shape, shift) / 2 + fine_tuned(random, shape, shift) / 2


def rare_gains(random: np.random.Generator, shape: tuple[int, int], shift: float) -> Table:
    """Nothing in the mean: 34 % of tracks lose a little, 6 % gain an octave."""
    return -rare_falls(random, shape, -shift)


def rare_falls(random: np.random.Generator, shape: tuple[int, int], shift: float) -> Table:
    """Nothing in the mean: 34 % of tracks gain a little, 6 % lose an octave."""
    kind = random.random(shape)
    gains = 0.06 * 0.5 / 0.34 * random.uniform(0.5, 1.5, shape)
    found = np.where(kind > 0.94, -random.uniform(0.3, 0.7, shape), np.where(kind > 0.6, gains, 0.0))
    return found + shift


def few_fall(random: np.random.Generator, shape: tuple[int, int], shift: float) -> Table:
    """Lose the whole on few tracks, 0.2 each; the others as after fine-tuning."""
    return np.where(random.random(shape) < -shift / 0.2, -0.2, fine_tuned(random, shape, 0.0))


def very_few_fall(random: np.random.Generator, shape: tuple[int, int], shift: float) -> Table:
    """Lose the whole on very few tracks, 0.5 each; the others as after fine-tuning."""
    return np.where(random.random(shape) < -shift / 0.5, -0.5, fine_tuned(random, shape, 0.0))


KINDS: dict[str, Draw] = {
    "fine-tuned": fine_tuned,
    "trained anew": retrained,
    "right or wrong": right_or_wrong,
    "by source": by_source,
    "rare gains": rare_gains,
    "rare falls": rare_falls,
    "few fall": few_fall,
    "very few fall": very_few_fall,
}
#: Tracks of a source, in turns, where tracks have sources.
SIZES = (1.0, 2.0, 1.0, 4.0)


@dataclass(frozen=True)
class Shares:
    """Of the simulated comparisons.

    Parameters
    ----------
    promoted
        Those whose evidence suffices.
    refused_by_groups
        Those in which a group fell by more than its margin, beyond chance.
    """

    promoted: Interval
    refused_by_groups: Interval


def simulate(
    kind: str,
    tracks: int,
    shift: float,
    gate: GateSettings,
    task: str,
    *,
    simulations: int,
    seed: int = 1,
    focus_share: float = 0.0,
    groups: int = 0,
    one_falls: float = 0.0,
) -> Shares:
    """Compare two models over and over.

    Parameters
    ----------
    kind, tracks, shift
        Distribution of the differences, how many are drawn, and the true mean difference.
    gate, task
        Margins and level.
    simulations, seed
        How often, and of what.
    focus_share
        Which part of the tracks each group of the gate's focus has.
    groups
        Number of styles, as many tracks each, that are judged as well; none for 0.
    one_falls
        By how much one of these styles truly falls.
    """
    random = np.random.default_rng([seed, tracks])
    promoted, fallen = [], []
    for lot in range(0, simulations, LOT):
        shape = (min(LOT, simulations - lot), tracks)
        sizes = np.ones(shape)
        if kind == "by source":
            sizes *= np.resize(SIZES, tracks)
        sums = KINDS[kind](random, shape, shift) * sizes
        if groups:
            sums[:, ::groups] -= one_falls * sizes[:, ::groups]
        draws = int(random.integers(2**31))
        low = lower_limits(sums, sizes, gate.level, gate.resamples, draws)
        won = low > -gate.margin[task] if gate.evidence == "no_loss" else low > 0
        for number in range(len(gate.focus) if gate.evidence == "gain" else 0):
            part = slice(number * round(focus_share * tracks), (number + 1) * round(focus_share * tracks))
            better = lower_limits(sums[:, part], sizes[:, part], gate.level, gate.resamples, draws + 1) > 0
            won |= better & (low > -gate.margin[task])
        promoted.append(won)
        if groups:
            fallen += [_fell(row, size, groups, gate, task) for row, size in zip(sums, sizes, strict=True)]
    return Shares(proportion_interval(np.concatenate(promoted)), proportion_interval(np.array(fallen, dtype=bool)))


def _fell(sums: Table, sizes: Table, groups: int, gate: GateSettings, task: str) -> bool:
    parts = [Differences(sums[place::groups], sizes[place::groups]) for place in range(groups)]
    chances = holm([fall_probability(part) for part in parts])
    margin = gate.group_margin[task]
    return any(chance < gate.alpha and part.mean < -margin for part, chance in zip(parts, chances, strict=True))


def usual_limits(found: Table, level: float, resamples: int, seed: int) -> dict[str, Table]:
    """Return the lower limits that the gate does not take, of one difference a track, shape (comparisons, tracks).

    Gaffke's ("Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable",
    Mathematical Methods of Statistics 14, 2005) reckons with one track more that fell by 1.
    """
    count, random = found.shape[1], np.random.default_rng(seed)
    means, errors = found.mean(axis=1), found.std(axis=1, ddof=1) / np.sqrt(count)
    weights = random.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    drawn = weights @ found.T
    spread = np.sqrt(np.maximum(weights @ np.square(found).T - np.square(drawn), 0) / (count - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(spread > 1e-9, (drawn - means) / spread, np.copysign(np.inf, drawn - means))
    shares = random.dirichlet(np.ones(count + 1), size=resamples)
    return {
        "percentile": np.quantile(drawn, level, axis=0),
        "bootstrap-t": means - np.sort(ratios, axis=0)[round((1 - level) * resamples)] * errors,
        "Student's t": means - student.ppf(1 - level, count - 1) * errors,
        "Gaffke's": np.quantile(shares[:, :count] @ np.sort(found, axis=1).T - shares[:, count:], level, axis=0),
    }


def _usual(kind: str, tracks: int, shift: float, gate: GateSettings, simulations: int) -> dict[str, float]:
    random = np.random.default_rng([1, tracks])
    won: dict[str, list[Table]] = {}
    for _ in range(0, simulations, LOT):
        found = KINDS[kind](random, (LOT, tracks), shift)
        for name, low in usual_limits(found, gate.alpha, gate.resamples, int(random.integers(2**31))).items():
            won.setdefault(name, []).append(low > 0)
    return {name: float(np.mean(np.concatenate(lots))) for name, lots in won.items()}


def main(
    simulations: Annotated[int, typer.Option(help="Comparisons of each kind.")] = 4000,
    resamples: Annotated[int, typer.Option(help="Draws of each limit.")] = 2000,
) -> None:
    """Print the shares as tables in Markdown."""
    counts = (30, 50, 100, 300)
    gain = settings(resamples=resamples)
    focus = settings(resamples=resamples, focus=["corpus:new"])
    loss = settings(resamples=resamples, evidence="no_loss")
    margin, genre_margin = loss.margin["beat"], loss.margin["genre"]
    head = "".join(f" {count} tracks |" for count in counts)

    def row(label: str, kind: str, shift: float, gate: GateSettings, task: str = "beat", share: float = 0.0) -> None:
        cells = []
        for count in counts:
            found = simulate(kind, count, shift, gate, task, simulations=simulations, focus_share=share).promoted
            cells.append(f" {100 * found.value:.1f} ({100 * found.low:.1f}–{100 * found.high:.1f}) |")
        print(f"| {label} |{''.join(cells)}", flush=True)

    def table(title: str) -> None:
        print(f"\n{title}\n\n| differences |{head}\n| --- |{' ---: |' * len(counts)}")

    table(f"No real difference, evidence: gain; promoted, in percent, of which {100 * gain.alpha:g} are allowed")
    for kind in ("fine-tuned", "trained anew", "right or wrong", "by source", "rare gains", "rare falls"):
        row(kind, kind, 0.0, gain, "genre" if kind == "right or wrong" else "beat")
    row("fine-tuned, a third in focus", "fine-tuned", 0.0, focus, share=1 / 3)
    table(f"Worse by the margin ({margin:g}; genres {genre_margin:g}), evidence: no_loss; promoted, in percent")
    for kind in ("fine-tuned", "trained anew", "by source", "few fall", "very few fall"):
        row(kind, kind, -margin, loss)
    row("right or wrong", "right or wrong", -genre_margin, loss, "genre")
    table("Power: truly better, evidence: gain; promoted, in percent")
    for shift in (0.005, 0.01, 0.02, 0.05):
        row(f"fine-tuned, better by {shift:g}", "fine-tuned", shift, gain)
    for shift in (0.01, 0.02, 0.05):
        row(f"trained anew, better by {shift:g}", "trained anew", shift, gain)
    for shift in (0.05, 0.1):
        row(f"right or wrong, better by {shift:g}", "right or wrong", shift, gain, "genre")
    table("Power: no real difference, evidence: no_loss; promoted, in percent")
    for kind in ("fine-tuned", "trained anew"):
        row(kind, kind, 0.0, loss)
    row("right or wrong", "right or wrong", 0.0, loss, "genre")
    print("\nTen styles, of which one truly falls; refused for a group, in percent\n")
    print("| differences | tracks | falls by 0 | 0.05 | 0.1 | 0.2 | 0.3 |\n| --- |" + " ---: |" * 6)
    for kind, task in (("fine-tuned", "beat"), ("trained anew", "beat"), ("right or wrong", "genre")):
        for count in (100, 300):
            cells = []
            for fall in (0.0, 0.05, 0.1, 0.2, 0.3):
                found = simulate(
                    kind, count, 0.0, gain, task, simulations=min(simulations, 1000), groups=10, one_falls=fall
                )
                cells.append(f" {100 * found.refused_by_groups.value:.1f} |")
            print(f"| {kind} | {count} |{''.join(cells)}", flush=True)
    print("\nOther limits, evidence: gain; promoted, in percent\n")
    print("| differences | tracks | percentile | bootstrap-t | Student's t | Gaffke's |\n| --- |" + " ---: |" * 5)
    for kind, shift in (("fine-tuned", 0.0), ("rare falls", 0.0), ("fine-tuned", 0.02)):
        for count in (50, 100, 300):
            shares = _usual(kind, count, shift, gain, simulations)
            label = f"{kind}, better by {shift:g}" if shift else kind
            print(f"| {label} | {count} |{''.join(f' {100 * share:.1f} |' for share in shares.values())}", flush=True)


if __name__ == "__main__":
    typer.run(main)
