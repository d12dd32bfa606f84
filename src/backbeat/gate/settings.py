"""What a challenger has to show, and at which risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backbeat.errors import ConfigError

#: Kinds of groups that tracks fall into.
GROUP_KINDS = ("corpus", "style")
EVIDENCE = ("gain", "no_loss")


@dataclass(frozen=True)
class GateSettings:
    """The gate's margins and budgets; conf/gate/default.yaml says what each is.

    Parameters
    ----------
    alpha
        Greatest share of false promotions.
    evidence
        "gain" or "no_loss".
    focus
        Groups on which being better counts: "corpus:mine", "style:jazz".
    measure, margin, group_margin
        By task: what is compared, and how much worse is allowed over all and on one group.
    kept, kept_margin
        By task: measures that may fall by no more than this.
    least_tracks, least_group_tracks
        Sources (or tracks, where none share one) that it takes to judge.
    resamples, seed
        Of the confidence limits.
    latency_ratio, timed_tracks, timing_rounds
        Greatest ratio of times; how it is measured.
    size_ratio
        Greatest ratio of the weights' bytes.
    calibration_margin
        Greatest growth of the calibration error.
    golden, golden_right
        By task: tracks "corpus/id" that must stay right, and the measure from which they are.
    first_golden
        Share of golden tracks that a first champion gets right.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    alpha: float
    evidence: str
    focus: tuple[str, ...]
    measure: Mapping[str, str]
    kept: Mapping[str, tuple[str, ...]]
    kept_margin: float
    margin: Mapping[str, float]
    group_margin: Mapping[str, float]
    least_tracks: int
    least_group_tracks: int
    resamples: int
    seed: int
    latency_ratio: float
    timed_tracks: int
    timing_rounds: int
    size_ratio: float
    calibration_margin: float
    golden: Mapping[str, tuple[str, ...]]
    golden_right: float
    first_golden: float

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ConfigError(f"gate.alpha: a false promotion rate lies between 0 and 0.5, not at {self.alpha:g}")
        if self.evidence not in EVIDENCE:
            raise ConfigError(f"gate.evidence: {self.evidence!r} is neither gain nor no_loss")
        for name in self.focus:
            kind, _, label = name.partition(":")
            if kind not in GROUP_KINDS or not label:
                raise ConfigError(f"gate.focus: {name!r} must be corpus:NAME or style:NAME")
        for what, least in (("least_tracks", 3), ("least_group_tracks", 3), ("timed_tracks", 1), ("timing_rounds", 1)):
            if getattr(self, what) < least:
                raise ConfigError(f"gate.{what}: {getattr(self, what)} is too few; at least {least}")
        if self.resamples < self.least_resamples:
            raise ConfigError(f"gate.resamples: this level needs at least {self.least_resamples}, not {self.resamples}")
        margins = [self.kept_margin, self.calibration_margin, *self.margin.values(), *self.group_margin.values()]
        if not all(0 <= margin < 1 for margin in margins):
            raise ConfigError("gate: margins lie between 0 and 1")
        if min(self.latency_ratio, self.size_ratio) <= 0:
            raise ConfigError("gate: the budgets of latency and size are ratios above 0")

    @property
    def ways(self) -> int:
        """In how many ways a challenger can win; the risk is divided among them (Bonferroni)."""
        return 1 + len(self.focus) if self.evidence == "gain" else 1

    @property
    def level(self) -> float:
        """The risk of one limit."""
        return self.alpha / self.ways

    @property
    def least_resamples(self) -> int:
        """Draws of which some lie beyond the limits."""
        return round(20 / self.level)
