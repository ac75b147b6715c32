"""What the steps of untrained policies say, in numbers: rewards, episodes, observations, noise, aliasing, coverage.

All is NumPy on a :class:`play.Play` whose leaves were fetched: ``[num_steps, num_policies, num_envs, ...]``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from purejaxrl import stats

LARGE, SMALL = 10.0, 0.03  # largest magnitude and least standard deviation of numbers that suit a network
SEEN_OFTEN = 0.05  # share of episodes with a reward from which on ordinary exploration will do
GRADED = 16  # so many different rewards grade what is done, whatever their sign
POINTS = 60  # of a curve
HARDLY = 0.5  # observations hardly repeat where a larger share of the steps arrives at a new one
PARTS = ("reward", "termination", "observation")
RANDOM, SHARED = "random", "epsilon-greedy"  # policies: uniform actions, and networks that envs share
NETWORKS = 16  # of them at most


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; NaN where there is nothing to go by."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Rewards:
    """What one policy meets. Episodes under way at the end count, too, once they are as long as most that ended."""

    policy: str
    steps: int  # over all envs
    episodes: int  # that ended
    under_way: int  # at the end, as long as most that ended
    rewarded_steps: Estimate  # share of the steps with a reward above 0
    rewarded_episodes: Estimate  # share of the episodes with one
    first_reward: int | None  # steps over all envs until the first one; None: never
    steps_to_reward: Estimate  # of one env until it has seen one, on average; NaN where none did
    returns: tuple[float, ...]  # quantiles in steps of 5 %, from the least to the largest
    lengths: tuple[float, ...]
    terminated: Estimate  # share of the episodes that ended by their own rules, no time limit


@dataclasses.dataclass(frozen=True)
class Signal:
    """The rewards of all policies together, and how one could learn from them.

    `kind`: "dense" where some are above 0, in at least SEEN_OFTEN of the episodes of random actions, with which PPO
    begins; "rare" where some are, less often or to actions that last alone; "graded" where none is, but they take many
    values, which are not those of the actions alone; "endings" where they do not, but episodes terminate sooner or
    later; "costs" where neither is so; "constant" where the reward is always the same, too, or, of whatever sign, the
    reward and what an episode pays; "unknown" where some are not finite.
    """

    kind: str
    values: tuple[tuple[float, float], ...]  # the most frequent rewards with their shares, at most 6
    distinct: int
    nonfinite: int  # rewards that were not finite
    step_limit: int | None
    distance: float  # steps from an episode's start to its first reward, median; else to its end; NaN: neither is known
    waits: bool  # that reward comes later than what was played of most episodes: the distance is an estimate
    kept: float  # what a discount of .99 leaves of a reward at that distance
    gamma: float  # the discount that leaves half of it


@dataclasses.dataclass(frozen=True)
class Observations:
    """What the agent sees; numbers of an observation by their places in the flat vector."""

    size: int
    kind: str
    watched_steps: int
    largest: float  # magnitude
    constant: tuple[int, ...]
    large: tuple[int, ...]  # that exceed LARGE
    small: tuple[int, ...]  # that vary, but by less than SMALL
    nonfinite: int  # how many numbers were not finite, over all watched steps
    flickering: tuple[int, ...]  # numbers that differ between half or more of the pairs of steps from one state
    repeats: float  # share of the steps that arrive at an observation which was seen before
    starts: float  # share of the episodes that start with an observation of their own

    @property
    def unnormalised(self) -> tuple[int, ...]:
        return tuple(sorted(self.large + self.small))


@dataclasses.dataclass(frozen=True)
class Randomness:
    """How often two steps have different outcomes: reward, termination, observation, and any of them."""

    noise: dict[str, Estimate]  # from the same state, by the same action
    aliasing: dict[str, Estimate]  # from different states that look alike, by the same action, with the same key
    pairs: int  # of steps that looked alike


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How many different states were arrived at, after how many steps over all envs."""

    unit: str  # what counts as a state: "cells" (the truth), "observations", or groups of similar ones
    of: int | None  # how many cells there are
    steps: dict[str, tuple[int, ...]]
    found: dict[str, tuple[float, ...]]


def ratio(numerators: Any, denominators: Any) -> Estimate:
    """Σ numerators / Σ denominators, each ``[num_envs]``, with a bootstrap interval over envs.

    The interval is that of the mean of r + (numerator - r · denominator) / mean denominator, the ratio's linearisation,
    since steps of one env are no independent draws.
    """
    numerators, denominators = np.asarray(numerators, float), np.asarray(denominators, float)
    total = denominators.sum()
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = numerators.sum() / total
    by_env = value + (numerators - value * denominators) * len(numerators) / total
    return Estimate(*(float(number) for number in stats.mean_interval(by_env)))


def num_networks(num_envs: int) -> int:
    """How many untrained networks the envs of ε-greedy have, env e that of number e modulo as many."""
    return math.gcd(num_envs, NETWORKS)


def proportion(successes: Any, trials: Any) -> Estimate:
    """A share of independent trials with Wilson's interval."""
    if trials == 0:
        return Estimate(math.nan, 0.0, 1.0)
    return Estimate(float(successes / trials), *stats.wilson_interval(int(successes), int(trials)))


def clustered(successes: np.ndarray, groups: np.ndarray) -> Estimate:
    """A share of trials that depend on each other within a group.

    Wilson's interval of so many independent trials as vary as much as the groups do: between their number, where all
    trials end alike, and that of the trials.
    """
    trials, found = np.bincount(groups), np.bincount(groups, weights=successes)
    trials, found = trials[trials > 0], found[trials > 0]
    count, share = trials.sum(), found.sum() / trials.sum()
    variance = np.square(found - share * trials).sum() / count**2 * len(trials) / max(len(trials) - 1, 1)
    if 0 < share < 1:
        independent = float(np.clip(share * (1 - share) / variance if variance else count, len(trials), count))
    else:
        independent = float(len(trials))
    return Estimate(float(share), *stats.wilson_interval(share * independent, independent))


class Episodes(NamedTuple):
    """Of one policy's episodes, each ``[count]``; or of one of them."""

    env: Any  # which env's it is
    total: Any  # return
    length: Any
    until: Any  # steps until the first reward above 0, the one that brought it included; 0: none
    terminated: Any
    ended: Any  # bool, or the last steps of an env, whose episode goes on


def episodes(played: Any, policy: int) -> Episodes:
    """The episodes that ended, and those under way at the end that are as long as the median of them already.

    Of long episodes those that end in time are the ones that were over soon; alone they would say that all are.
    """
    reward, terminated, truncated = (
        np.asarray(leaf)[:, policy].T for leaf in (played.reward, played.terminated, played.truncated)
    )
    found, under_way = [], []
    for env, (rewards, ends, dones) in enumerate(zip(reward, terminated, terminated | truncated, strict=True)):
        start = 0
        for end in np.flatnonzero(dones) + 1:
            found.append(Episodes(env, *_episode(rewards[start:end]), bool(ends[end - 1]), True))
            start = end
        under_way.append(Episodes(env, *_episode(rewards[start:]), False, False))
    long = np.median([episode.length for episode in found]) if found else 1
    found += [episode for episode in under_way if episode.length >= long]
    return Episodes(*(np.asarray(column) for column in zip(*found, strict=True)))


def _episode(reward: np.ndarray) -> tuple[float, int, int]:
    positive = reward > 0
    return float(reward.sum(dtype=float)), len(reward), int(positive.argmax()) + 1 if positive.any() else 0


def rewards(played: Any, names: Sequence[str]) -> list[Rewards]:
    """A row for each policy."""
    return [_rewards(played, index, name) for index, name in enumerate(names)]


def _rewards(played: Any, index: int, name: str) -> Rewards:
    positive = np.asarray(played.reward)[:, index] > 0  # [num_steps, num_envs]
    num_steps, num_envs = positive.shape
    some = episodes(played, index)
    found = positive.any(0)
    waited = np.where(found, positive.argmax(0) + 1, num_steps)
    # Envs that share a network share its habits; random episodes are independent.
    groups = some.env % num_networks(num_envs) if name == SHARED else np.arange(len(some.env))
    return Rewards(
        policy=name,
        steps=positive.size,
        episodes=int(some.ended.sum()),
        under_way=int((~some.ended).sum()),
        rewarded_steps=ratio(positive.sum(0), np.full(num_envs, num_steps)),
        rewarded_episodes=clustered(some.until > 0, groups),
        first_reward=int(positive.any(1).argmax() + 1) * num_envs if found.any() else None,
        steps_to_reward=ratio(waited, found),  # the mean of a geometric distribution, those that still wait included
        returns=_quantiles(some.total),
        lengths=_quantiles(some.length),
        terminated=proportion(some.terminated.sum(), some.ended.sum()),
    )


def _quantiles(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, np.linspace(0, 1, 21)))


def signal(played: Any, rows: Sequence[Rewards], step_limit: int | None) -> Signal:
    """The kind of the rewards, and how far they are."""
    reward = np.asarray(played.reward)
    values, counts = np.unique(reward[np.isfinite(reward)], return_counts=True)
    order = np.argsort(-counts)[:6]
    shares = tuple((float(values[i]), float(counts[i] / reward.size)) for i in order)
    nonfinite = int((~np.isfinite(reward)).sum())
    graded = len(values) > GRADED and not _of_actions_alone(played)
    kind = "unknown" if nonfinite else classify(rows, len(values), graded)
    distance, waits = typical_distance([episodes(played, index) for index in range(len(rows))], kind, step_limit)
    kept, gamma = 0.99**distance, 0.5 ** (1 / distance)
    return Signal(kind, shares, len(values), nonfinite, step_limit, distance, waits, kept, gamma)


def by_steps(rows: Sequence[Rewards]) -> Rewards:
    """Of the policies the one that explores step by step, as PPO does at first: random actions.

    ε-greedy around an untrained network does what that prefers again and again.
    """
    return next(row for row in rows if row.policy == RANDOM)


def _of_actions_alone(played: Any) -> bool:
    """Whether a quadratic function of the action tells every reward, as it does what actions cost."""
    action, reward = np.asarray(played.action, float), np.asarray(played.reward, float).ravel()
    action = action.reshape(reward.size, -1)
    known = np.isfinite(reward)
    terms = np.concatenate([np.ones((reward.size, 1)), action, action**2, np.abs(action)], axis=1)[known]
    error = reward[known] - terms @ np.linalg.lstsq(terms, reward[known], rcond=None)[0]
    return bool(np.square(error).sum() < 1e-6 * np.square(reward[known] - reward[known].mean()).sum())


def classify(rows: Sequence[Rewards], distinct: int, graded: bool) -> str:
    """See :class:`Signal`."""
    if distinct == 1 and len({total for row in rows for total in row.returns}) == 1:
        return "constant"
    if any(row.first_reward is not None for row in rows):
        return "dense" if by_steps(rows).rewarded_episodes.value >= SEEN_OFTEN else "rare"
    if graded:
        return "graded"
    ends = any(row.terminated.value >= SEEN_OFTEN and row.lengths[0] < row.lengths[-1] for row in rows)
    if ends and any(row.returns[0] < row.returns[-1] for row in rows):
        return "endings"
    return "costs" if distinct > 1 else "constant"


def typical_distance(played: Sequence[Episodes], kind: str, step_limit: int | None) -> tuple[float, bool]:
    """Steps to the first reward in those episodes that have one; 1 where every step is graded; else to the end.

    Where no episode ended that is the limit, and NaN without one; NaN, too, where rewards are not known. The second is
    whether most of those that wait for a reward do so still: see :func:`median_wait`.
    """
    if kind in ("graded", "unknown"):
        return (1.0 if kind == "graded" else math.nan), False
    until, length, ends, ended = (
        np.concatenate([getattr(e, name) for e in played]) for name in ("until", "length", "terminated", "ended")
    )
    if kind in ("dense", "rare"):
        counts = (until > 0) | ~ended
        return median_wait(np.where(until > 0, until, length)[counts], (until > 0)[counts])
    if not ended.any():
        return (math.nan if step_limit is None else float(step_limit)), False
    return float(np.median(length[ends] if kind == "endings" else length)), False


def median_wait(steps: np.ndarray, met: np.ndarray) -> tuple[float, bool]:
    """The median of waiting times ``[n]`` of which some go on (Kaplan and Meier 1958, doi:10.2307/2281868).

    Where fewer than half of them are over as long as anything was seen it is what their rate so far would make it, and
    the second is True.
    """
    order = np.lexsort((~met, steps))
    steps, met = steps[order], met[order]
    waiting = np.cumprod(1.0 - met / np.arange(len(steps), 0, -1))
    if waiting[-1] <= 0.5 + 1e-9:
        return float(steps[np.argmax(waiting <= 0.5 + 1e-9)]), False
    return float(math.log(2) * steps.sum() / met.sum()), True


def observations(played: Any, leaves: Sequence[Any]) -> Observations:
    """What the watched envs saw; `leaves` are the shapes and dtypes of an observation's leaves."""
    obs = np.asarray(played.obs)
    flat = obs.reshape(-1, obs.shape[-1])
    finite = np.isfinite(flat)
    known = flat if finite.all() else np.where(finite, flat, 0.0)
    low, high, std = known.min(0), known.max(0), known.std(0, dtype=float)
    largest = np.maximum(np.abs(low), np.abs(high))
    varies, whole = low < high, finite.all(0)
    large = largest > LARGE
    binary = ((known == 0) | (known == 1)).all(0)
    flicker = np.asarray(played.flicker).sum(0) / np.asarray(played.reward).size
    codes = np.asarray(played.codes["observations"])
    _, _, starts = _starts(played)
    return Observations(
        size=flat.shape[1],
        kind=_kind(known, binary, leaves),
        watched_steps=len(flat),
        largest=float(largest.max()),
        constant=_places(~varies & whole),
        large=_places(large & whole),
        small=_places(varies & ~binary & ~large & (std < SMALL) & whole),
        nonfinite=int((~finite).sum()),
        flickering=_places(flicker >= 0.5),
        repeats=float(1 - len(np.unique(codes)) / codes.size),
        starts=starts,
    )


def _starts(played: Any) -> tuple[int, int, float]:
    """First observations: how many, how many different ones, and their share. Those of the watched envs."""
    obs, first = np.asarray(played.obs), np.asarray(played.first)[:, :, : played.obs.shape[2]]
    seen = obs[first][:4096]
    different = len(np.unique(seen, axis=0))
    return len(seen), different, different / len(seen)


def _kind(known: np.ndarray, binary: np.ndarray, leaves: Sequence[Any]) -> str:
    shape = " + ".join("x".join(map(str, leaf.shape)) or "1" for leaf in leaves)
    form = "grid" if any(len(leaf.shape) >= 2 for leaf in leaves) else "vector"
    if binary.all():
        sums = known.sum(1)
        content = "one-hot" if len(leaves) == 1 and (sums <= 1).all() and (sums == 1).any() else "binary"
    else:
        content = "whole numbers" if (known == np.round(known)).all() else "real numbers"
    return f"{form} of {content}, {shape}" if content.endswith("numbers") else f"{content} {form}, {shape}"


def _places(where: np.ndarray) -> tuple[int, ...]:
    return tuple(int(place) for place in np.flatnonzero(where))


def randomness(played: Any) -> Randomness:
    """Noise by the two steps from each state; aliasing by pairs of steps that looked alike."""
    differs = {name: np.asarray(played.differs[name]) for name in PARTS}
    differs["any"] = np.any(list(differs.values()), axis=0)
    num_steps = len(differs["any"])
    by_env = {name: flags.transpose(1, 2, 0).reshape(-1, num_steps) for name, flags in differs.items()}
    noise = {name: ratio(flags.sum(1), np.full(len(flags), num_steps)) for name, flags in by_env.items()}
    pairs, aliased = _aliased(played)
    aliased["any"] = np.any(list(aliased.values()), axis=0)
    return Randomness(noise, {name: proportion(flags.sum(), pairs) for name, flags in aliased.items()}, pairs)


def _aliased(played: Any) -> tuple[int, dict[str, np.ndarray]]:
    """Pairs of steps with the same observation, action and key: how many, and which of them differ.

    Neighbours in a random order of those that are the same.
    """
    rows = lambda x: np.asarray(x).reshape(np.asarray(played.reward).size, -1)  # noqa: E731
    same, again = rows(played.same), played.again
    order = np.random.default_rng(0).permutation(len(same))
    order = order[np.lexsort(same[order].T)]
    alike = (same[order][1:] == same[order][:-1]).all(1)
    left, right = order[:-1][alike], order[1:][alike]
    outcomes = dict(zip(PARTS, again, strict=True))
    differ = lambda x, y: ((x != y) & ((x == x) | (y == y))).any(1)  # noqa: E731, PLR0124 # NaN does not from NaN
    return len(left), {name: differ(rows(x)[left], rows(x)[right]) for name, x in outcomes.items()}


def coverage(played: Any, names: Sequence[str], num_cells: int | None, repeats: float) -> Coverage:
    """Curves of the policies, in the truest unit that there is."""
    unit = "cells" if num_cells else "observations" if repeats >= HARDLY else "groups of similar observations"
    steps, found = {}, {}
    for index, name in enumerate(names):
        codes = np.asarray(played.codes[unit])[:, index].reshape(-1)  # in order of time
        new = np.sort(np.unique(codes, return_index=True)[1])
        at = np.unique(np.geomspace(np.asarray(played.reward).shape[2], codes.size, POINTS).astype(int))
        steps[name], found[name] = tuple(map(int, at)), tuple(map(float, np.searchsorted(new, at)))
    return Coverage(unit, num_cells, steps, found)
