"""From findings to plain words and a command line: one table of rules, each a pure function of the findings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from purejaxrl.diagnosis.findings import (
    HARDLY,
    LARGE,
    SHARED,
    SMALL,
    Coverage,
    Observations,
    Randomness,
    Rewards,
    Signal,
    by_steps,
)
from purejaxrl.diagnosis.prediction import HISTORY, Score
from purejaxrl.diagnosis.training import NAMES

# Gain in R² or AUC from which on a memory is worth its price; much of what is seen next may be of no use.
HELPS = {"reward": 0.05, "termination": 0.02, "observation": 0.2}
UNPREDICTABLE = 0.1  # an R² below it,
NOTHING = 0.01  # and one that is surely no more than this above what shuffled rewards have
SPREAD = 8  # envs: a gain in fewer may be the luck of one fit
NOISY = 0.001  # share of steps
MANY = 100  # episodes that say more than their steps, which depend on each other
FAR = 0.5  # what a discount of .99 leaves of a far reward
REACHES = 1.2  # times as many states
OUTCOMES = {
    "reward": ("R²", "reward"),
    "termination": ("AUC", "termination"),
    "observation": ("R²", "next observation"),
}
# What tuning chose on most tasks of docs/exploration.md.
FLAGS = {
    "noveld": "--bonus noveld --bonus.coef 0.1 --bonus.normalise return_std --bonus.learning-rate 5e-4",
    "counts": "--bonus counts --bonus.coef 0.1 --bonus.normalise return_std",
    "rnd": "--bonus rnd --bonus.coef 0.1 --bonus.normalise return_std --bonus.learning-rate 5e-4",
}
SPARSE = "--num-envs 16 --algo.learning-rate 1e-3"


@dataclasses.dataclass(frozen=True)
class Trained:
    """What PPO, and PPO + NovelD, found in as many steps as each policy took."""

    first_reward: dict[str, float]  # steps, NaN: never
    best_return: dict[str, float]  # of one episode, NaN: none ended


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that a diagnosis knows; every field may be written as JSON."""

    rewards: tuple[Rewards, ...]
    signal: Signal
    observations: Observations
    randomness: Randomness
    prediction: dict[str, Score | None]
    coverage: Coverage
    trained: Trained | None  # None where it was left out


class Advice(NamedTuple):
    topic: str
    text: str
    flags: str = ""  # what it adds to the command line


class Rule(NamedTuple):
    """Gives its advice where it applies."""

    topic: str
    applies: Callable[[Findings], bool]
    text: Callable[[Findings], str]
    flags: Callable[[Findings], str] = lambda findings: ""


def advise(findings: Findings) -> list[Advice]:
    """What all rules that apply say, in the order of the table."""
    known = not findings.signal.nonfinite  # else nothing can be said of rewards
    applying = (rule for rule in RULES if (known or rule.topic != "rewards") and rule.applies(findings))
    return [Advice(rule.topic, rule.text(findings), rule.flags(findings)) for rule in applying]


def command(opening: str, advice: list[Advice]) -> str:
    """The command line to start with; `opening` chooses the environment: ``--env CartPole-v1``."""
    return " ".join(["purejaxrl train", opening, *(some.flags for some in advice if some.flags)])


def alternatives(findings: Findings, opening: str, advice: list[Advice]) -> Iterator[tuple[str, str]]:
    """Further commands that are worth a try, each with its reason."""
    if not _is_sparse(findings):
        return
    chosen = bonus(findings)
    if chosen != "counts" and findings.observations.repeats >= HARDLY and not findings.observations.flickering:
        rest = [some._replace(flags=some.flags.replace(_bonus_flags(findings), FLAGS["counts"])) for some in advice]
        yield "observations repeat, so they can be counted", command(opening, rest)


def bonus(findings: Findings) -> str:
    """The bonus to begin with: NovelD, but RND where numbers of the observation flicker."""
    return "rnd" if findings.observations.flickering else "noveld"


def _bonus_flags(findings: Findings) -> str:
    chosen = bonus(findings)
    bits = " --bonus.bits 16" if chosen == "noveld" and findings.observations.repeats < HARDLY else ""
    return FLAGS[chosen] + bits


def _is_sparse(findings: Findings) -> bool:
    return findings.signal.kind in ("rare", "costs", "constant") or _by_chance(findings)


def _sparse_flags(findings: Findings) -> str:
    return f"{SPARSE} {_bonus_flags(findings)}"


def _most(findings: Findings) -> Rewards:
    return max(findings.rewards, key=lambda row: row.rewarded_episodes.value)


def _never(findings: Findings) -> str:
    steps = sum(row.steps for row in findings.rewards)
    if findings.signal.kind == "constant":
        value = findings.signal.values[0][0] + 0.0
        varies = any(row.returns[0] < row.returns[-1] for row in findings.rewards)
        paid = "hardly an episode paid more or less than others" if varies else "every episode paid the same"
        return (
            f"In {steps:,} steps of untrained policies the reward was always {value:.4g}, and {paid}: nothing tells "
            "better from worse. Pay for what is new."
        )
    random = [row for row in findings.rewards if row.policy != SHARED]  # whose episodes are independent
    episodes = sum(row.episodes for row in random)
    count, unit = (episodes, "episodes") if episodes >= MANY else (sum(row.steps for row in random), "steps")
    return (
        f"In {steps:,} steps of untrained policies no reward was above 0: only costs were met. None of the {count:,} "
        f"{unit} of random actions, lasting ones too, had one, so at most 1 in {count // 3:,} does (95 %), and waiting "
        "for ε-greedy or entropy to find it may take for ever: pay for what is new."
    )


def _rare(findings: Findings) -> str:
    most = _most(findings)
    share = most.rewarded_episodes
    return (
        f"Rewards are rare: {percent(share.value)} of the episodes of {most.policy} actions have one "
        f"({percent(share.low)} to {percent(share.high)}{_so_far(most)}). PPO alone may find it and lose it again; a "
        "bonus finds it more often."
    )


def _so_far(row: Rewards) -> str:
    """What to add to a share of episodes of which many had not ended."""
    return f"; {row.under_way:,} had not ended" if row.under_way > 0.1 * (row.episodes + row.under_way) else ""


def _by_chance(findings: Findings) -> bool:
    """Whether rewards above 0 are met, but by noise alone as far as can be seen."""
    return findings.signal.kind == "dense" and _unpredictable(findings) and _noise(findings, "reward") > NOISY


def _noise(findings: Findings, name: str) -> float:
    return findings.randomness.noise[name].value


def _by_chance_text(findings: Findings) -> str:
    share = percent(by_steps(findings.rewards).rewarded_episodes.value)
    return (
        f"Rewards above 0 are met in {share} of the episodes, but they look like noise: nothing that is seen predicts "
        "them. Whether there is more to find no untrained policy tells: keep exploring."
    )


def _dense(findings: Findings) -> str:
    most = by_steps(findings.rewards)
    verdict = "no bonus is needed" if _helps(findings) or _hides(findings) else "PPO alone will do"
    return (
        f"Rewards are met without learning anything, in {percent(most.rewarded_episodes.value)} of the episodes of "
        f"{most.policy} actions{_so_far(most)}: {verdict}."
    )


def _helps(findings: Findings) -> list[str]:
    """The outcomes that the history predicts better, beyond doubt: more than two fits differ, and it can."""
    scores = findings.prediction.items()
    sure = lambda score: score.gain.low > 0 and score.envs >= SPREAD  # noqa: E731
    better = [name for name, score in scores if score and sure(score) and score.gain.value > HELPS[name]]
    return [name for name in better if not _is_seen(findings, name)]


def _is_seen(findings: Findings, name: str) -> bool:
    """Whether equal observations and actions have equal outcomes, of most steps: then there is nothing to remember."""
    randomness, steps = findings.randomness, sum(row.steps for row in findings.rewards)
    return randomness.pairs > steps / 2 and randomness.aliasing[name].high < NOISY


def _hides(findings: Findings) -> bool:
    """Whether steps that look alike have different outcomes, noise left out."""
    return findings.randomness.pairs > 0 and findings.randomness.aliasing["any"].low > NOISY


def _memory(findings: Findings) -> str:
    parts = []
    for name in _helps(findings):
        score = findings.prediction[name]
        assert score is not None
        measure, what = OUTCOMES[name]
        parts.append(f"{what} ({measure} {score.history.value:.2f} instead of {score.observation.value:.2f})")
    share = findings.randomness.aliasing["any"].value
    hidden = f", and {percent(share)} of the pairs of steps that look alike are not" if _hides(findings) else ""
    return (
        f"The last {HISTORY} observations predict more than the present one alone: {' and '.join(parts)}{hidden}. The "
        "policy needs a memory."
    )


def _aliased(findings: Findings) -> str:
    share, noise = (some["any"].value for some in (findings.randomness.aliasing, findings.randomness.noise))
    what = "nothing of that is noise" if noise == 0 else f"beyond the {percent(noise)} that noise makes differ"
    return (
        f"States that look alike are not: {percent(share)} of the pairs of steps with the same observation and action "
        f"led to different outcomes under the same random numbers ({what}). What decides is hidden; if training "
        "stalls, try --algo.memory gru, or --env.frame-stack 4."
    )


def _broken(findings: Findings) -> str:
    counts = {"numbers of observations": findings.observations.nonfinite, "rewards": findings.signal.nonfinite}
    broken = " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"{broken} were not finite, on which training stops: purejaxrl.check_env says more."


def _unpredictable(findings: Findings) -> bool:
    score = findings.prediction["reward"]
    if score is None or max(score.history.high, score.observation.high) >= UNPREDICTABLE:
        return False
    return max(score.history.low, score.observation.low) <= max(score.shuffled, 0.0) + NOTHING


def _weak(findings: Findings) -> bool:
    """Whether what is seen predicts the reward, but only a small part of it."""
    score = findings.prediction["reward"]
    small = score is not None and max(score.history.high, score.observation.high) < UNPREDICTABLE
    return small and not _unpredictable(findings)


def _weak_text(findings: Findings) -> str:
    score = findings.prediction["reward"]
    assert score is not None
    best = max(score.history.value, score.observation.value)
    noise = _noise(findings, "reward")
    why = f"; in {percent(noise)} of the steps it was another one from the same state" if noise > NOISY else ""
    return (
        f"What is seen predicts the reward, but only {percent(best)} of its variance{why}: more environments, or "
        "longer rollouts, average the rest out."
    )


def _unpredictable_text(findings: Findings) -> str:
    noise = _noise(findings, "reward")
    why = (
        f"in {percent(noise)} of the steps it was another one from the same state"
        if noise > NOISY
        else "it depends on what is hidden, on more than the last observations, or needs more steps to be learned"
    )
    return f"Nothing that is seen predicts the reward (R² below {UNPREDICTABLE:g}): {why}."


def _noisy(findings: Findings) -> str:
    noise = findings.randomness.noise
    parts = [name for name in ("reward", "termination", "observation") if noise[name].value > NOISY]
    return (
        f"Transitions are random: from the same state the same action led to another outcome in "
        f"{percent(noise['any'].value)} of the steps ({', '.join(parts)}). Bonuses that pay for errors of predicted "
        "transitions (ICM, BYOL-Explore) pay for that for ever; counts, RND, CFN, NovelD and RE3 judge states, not "
        "transitions."
    )


def _flickering(findings: Findings) -> str:
    places = findings.observations.flickering
    return (
        f"Of the observation {_count(places, 'number')} {_are(places)} noise that changes at every step. It looks new "
        "for ever to counts, RE3, NGU, E3B and to NovelD's first visits; RND and CFN lost least to it "
        "(docs/exploration.md, noisy TVs). Better: leave these numbers out."
    )


def _unnormalised(findings: Findings) -> str:
    why = {"large": f"above {LARGE:g}", "small": f"of a standard deviation below {SMALL:g}"}
    parts = {kind: getattr(findings.observations, kind) for kind in why}
    shown = [f"{_count(places, 'number')} {_are(places)} {why[kind]}" for kind, places in parts.items() if places]
    return f"The observation is far from a scale of 1: {'; '.join(shown)}."


def _constant(findings: Findings) -> str:
    places, size = findings.observations.constant, findings.observations.size
    named = f" ({', '.join(map(str, places))})" if len(places) <= 8 else ""
    return (
        f"{len(places):,} of {size:,} numbers of the observation never changed{named}: either they do nothing, or they "
        "show what no untrained policy reaches."
    )


def _far(findings: Findings) -> str:
    signal = findings.signal
    what = "the first reward" if _rewarded(findings) else "an episode's end, where a reward may be,"
    about = "by its rate so far about " if signal.waits else ""
    return (
        f"From the start to {what} it is {about}{signal.distance:,.0f} steps, over which γ = 0.99 leaves "
        f"{percent(signal.kept)}; γ = {_gamma(findings)} leaves half."
    )


def _gamma(findings: Findings) -> str:
    """The discount that leaves half, with so many digits that 1 - γ has two."""
    rest = 1 - findings.signal.gamma
    return f"{1 - rest:.{1 - math.floor(math.log10(rest))}f}"


def _rewarded(findings: Findings) -> bool:
    return findings.signal.kind in ("dense", "rare")


def _reaches(findings: Findings) -> float:
    """How many times as many states PPO + NovelD found as the best of the others, in as many steps."""
    found = {name: curve[-1] for name, curve in findings.coverage.found.items()}
    others = max(number for name, number in found.items() if name != NAMES[1])
    return found.get(NAMES[1], 0.0) / max(others, 1.0)


def _reaches_text(findings: Findings) -> str:
    found = findings.coverage.found
    others = max((curve[-1], name) for name, curve in found.items() if name != NAMES[1])
    times = _reaches(findings)
    verdict = (
        f"{times:.1f} times as many as" if times >= REACHES else "no more than" if times <= 1 else "hardly more than"
    )
    text = (
        f"In as many steps PPO + NovelD arrived at {found[NAMES[1]][-1]:,.0f} {findings.coverage.unit}, {verdict} "
        f"{others[1]} ({others[0]:,.0f})."
    )
    if times < REACHES and _is_sparse(findings) and not _better(findings):
        text += " So short a run does not settle it."
    return text


def _better(findings: Findings) -> bool:
    """Whether training with the bonus met a reward that no untrained policy did."""
    trained = findings.trained
    never = all(row.first_reward is None for row in findings.rewards)
    return trained is not None and never and math.isfinite(trained.first_reward[NAMES[1]])


def _better_text(findings: Findings) -> str:
    assert findings.trained is not None
    first, best = findings.trained.first_reward, findings.trained.best_return
    alone = "and PPO alone, too" if math.isfinite(first[NAMES[0]]) else "PPO alone did not"
    return (
        f"PPO + NovelD did meet a reward above 0, after {first[NAMES[1]]:,.0f} steps (best return "
        f"{best[NAMES[1]]:.4g}); {alone}."
    )


def _endless(findings: Findings) -> bool:
    return not any(row.episodes for row in findings.rewards)


def percent(share: float) -> str:
    """A share in percent with two digits, or a dash where there is none."""
    if math.isnan(share):
        return "–"
    percent = 100 * share
    return "0 %" if percent == 0 else f"{percent:.0f} %" if percent >= 10 or percent == 100 else f"{percent:.2g} %"


def _count(places: tuple[int, ...], noun: str) -> str:
    if len(places) <= 4:
        return f"{noun}{'s' * (len(places) > 1)} {', '.join(map(str, places))}"
    return f"{len(places):,} {noun}s"


def _are(places: tuple[int, ...]) -> str:
    return "is" if len(places) == 1 else "are"


RULES = (
    Rule("broken", lambda f: f.observations.nonfinite + f.signal.nonfinite > 0, _broken),
    Rule("rewards", lambda f: f.signal.kind in ("costs", "constant"), _never, _sparse_flags),
    Rule("rewards", lambda f: f.signal.kind == "rare", _rare, _sparse_flags),
    Rule("rewards", _by_chance, _by_chance_text, _sparse_flags),
    Rule("rewards", lambda f: f.signal.kind == "dense" and not _by_chance(f), _dense),
    Rule(
        "rewards",
        lambda f: f.signal.kind == "graded",
        lambda f: (
            f"No reward was above 0, but {f.signal.distinct:,} different costs grade what is done: PPO alone will do."
        ),
    ),
    Rule(
        "rewards",
        lambda f: f.signal.kind == "endings",
        lambda f: (
            "No reward was above 0, but episodes end sooner or later, and that decides what they cost: untrained "
            "policies get there, so PPO alone will do."
        ),
    ),
    Rule("found", _better, _better_text),
    Rule("coverage", lambda f: f.trained is not None, _reaches_text),
    Rule("memory", lambda f: bool(_helps(f)), _memory, lambda f: "--algo.memory gru"),
    Rule("aliasing", lambda f: not _helps(f) and _hides(f), _aliased),
    Rule("prediction", _unpredictable, _unpredictable_text),
    Rule("prediction", _weak, _weak_text),
    Rule("noise", lambda f: f.randomness.noise["any"].value > NOISY and not f.observations.flickering, _noisy),
    Rule("noise", lambda f: bool(f.observations.flickering), _flickering),
    Rule("scale", lambda f: bool(f.observations.unnormalised), _unnormalised, lambda f: "--algo.normalise-obs"),
    Rule(
        "horizon",
        lambda f: f.signal.kept < FAR,
        _far,
        lambda f: f"--algo.gamma {_gamma(f)}",
    ),
    Rule("constant", lambda f: bool(f.observations.constant), _constant),
    Rule(
        "episodes",
        _endless,
        lambda f: "No episode ended: more steps (--num-steps) would say more of returns and ends.",
    ),
)
