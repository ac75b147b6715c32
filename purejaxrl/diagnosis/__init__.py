"""Predict first, then control: what can be known of an environment before any training, in less than a minute.

Untrained policies play (:mod:`play`), their steps are counted (:mod:`findings`) and predicted (:mod:`prediction`), a
short training shows whether a bonus reaches more (:mod:`training`), rules turn the numbers into advice (:mod:`advice`),
and :mod:`pages` shows all of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from purejaxrl import envs, stepping
from purejaxrl.diagnosis import advice, findings, play, prediction, training
from purejaxrl.diagnosis.advice import Advice, Findings, Trained
from purejaxrl.diagnosis.programs import once
from purejaxrl.progress import Progress
from purejaxrl.types import LARGEST_INT, SettingError, check_int, check_protocol

MOST_NUMBERS = 2**26  # of observations that are kept: a quarter of a GB


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was found, what follows from it, and the command to start with."""

    findings: Findings
    advice: tuple[Advice, ...]
    command: str
    measured: str  # where the command's settings were measured; empty: they follow from what was found
    alternatives: tuple[tuple[str, str], ...]  # (why, command)
    opening: str  # that chooses the environment on the command line
    num_envs: int
    num_steps: int
    seed: int
    seconds: float

    def beside(self, command: str, measured: str) -> Diagnosis:
        """With another command first, whose settings were measured; what the findings say remains an alternative."""
        own = self.command if "--algo" in self.command else f"{self.command} --algo ppo"
        alternatives = (("this is what was found here", own), *self.alternatives)
        return dataclasses.replace(self, command=command, measured=measured, alternatives=alternatives)

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain values."""
        content = dataclasses.asdict(self)
        return content | {"advice": [some._asdict() for some in self.advice]}


def diagnose(
    env: Any,
    env_params: Any = None,
    *,
    num_envs: int = 64,
    num_steps: int = 512,
    train: bool = True,
    seed: int = 0,
    opening: str | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Look at an environment as untrained policies meet it, and say what to train it with.

    Args:
      env: a gymnax environment, as :func:`purejaxrl.make` returns it.
      env_params: its parameters; None means its defaults.
      num_envs: envs of each policy, a multiple of 4; a quarter of them is held out where outcomes are predicted.
      num_steps: steps of each env. More than an episode's length is best.
      train: train PPO with and without a bonus, too, for ``num_envs * num_steps`` steps each.
      seed: of everything random.
      opening: what chooses the environment on the command line, ``"--env DeepSea-bsuite --env.size 20"``; only for the
        commands that are suggested.
      progress: where the phases are said.

    Raises:
      SettingError: (a ValueError) where an argument is wrong, by its name, before anything compiles.
    """
    check(env, num_envs, num_steps, train, seed)
    env_params = env.default_params if env_params is None else env_params
    play.check_pure(env, env_params)
    began = time.perf_counter()
    say: Callable[[str], Any] = progress.phase if progress else lambda name: contextlib.nullcontext()
    names, cells = play.policies(env, env_params), envs.cells(env)
    spec = stepping.make_spec(env, env_params, num_envs=num_envs, num_steps=num_steps, num_updates=1)
    size = jax.eval_shape(play.vector, spec.example_obs()).size
    watched = min(max(MOST_NUMBERS // (len(names) * num_steps * size) // 4 * 4, 4), num_envs)
    play_key, train_key = jax.random.split(jax.random.key(seed))

    with say(f"{len(names)} untrained policies play {num_envs * num_steps:,} steps each"):
        how: dict[str, Any] = {"num_envs": num_envs, "num_steps": num_steps, "watched": watched}
        cell_fn = None if cells is None else cells.cell_fn
        played = once(functools.partial(play.play, env, cell_fn=cell_fn, **how), env_params, play_key)
    with say("networks predict rewards and terminations"):
        scores = prediction.predict(played, seed)
    rewards = findings.rewards(played, names)
    seen = findings.observations(played, jax.tree.leaves(spec.observation))
    covered = findings.coverage(played, names, None if cells is None else cells.num_cells, seen.repeats)
    trained = None
    if train:
        with say(f"PPO trains with and without a bonus, {num_envs * num_steps:,} steps each"):

            def run(env_params, key, hash_keys):
                encode = play.codes(spec, *hash_keys)
                code = lambda obs: encode(jax.tree.map(lambda x: x[None], obs))[covered.unit][0]  # noqa: E731
                how = {"total_steps": num_envs * num_steps, "normalise_obs": bool(seen.unnormalised)}
                bits = 0 if seen.repeats >= findings.HARDLY else play.BITS
                return training.train(env, env_params, key, cells=cells, encode=code, bits=bits, **how)

            found = once(run, env_params, train_key, play.hash_keys(play_key))
            covered, trained = _joined(covered, found)
    limit = getattr(env_params, "max_steps_in_episode", LARGEST_INT)
    found = Findings(
        rewards=tuple(rewards),
        signal=findings.signal(played, rewards, int(limit) if limit < LARGEST_INT else None),
        observations=seen,
        randomness=findings.randomness(played),
        prediction=scores,
        coverage=covered,
        trained=trained,
    )
    opening = f"--env {getattr(env, 'name', type(env).__name__)}" if opening is None else opening
    said = advice.advise(found)
    return Diagnosis(
        findings=found,
        advice=tuple(said),
        command=advice.command(opening, said),
        measured="",
        alternatives=tuple(advice.alternatives(found, opening, said)),
        opening=opening,
        num_envs=num_envs,
        num_steps=num_steps,
        seed=seed,
        seconds=time.perf_counter() - began,
    )


def check(env: Any, num_envs: int, num_steps: int, train: bool, seed: int) -> None:
    """Raise :class:`SettingError` where an argument of :func:`diagnose` is wrong."""
    check_protocol(env)
    check_int(num_envs, "num_envs", ge=4)
    if num_envs % 4:
        raise SettingError(f"num_envs must be a multiple of 4 (a quarter is held out), got {num_envs}")
    check_int(num_steps, "num_steps", ge=2)
    check_int(seed, "seed", ge=0, le=2**31 - 1)
    if train and num_envs * num_steps < training.FEWEST_STEPS:
        raise SettingError(
            f"num_steps must give at least {training.FEWEST_STEPS} steps in {num_envs} envs to train with, got "
            f"{num_steps}; or leave training out"
        )


def _joined(covered: findings.Coverage, run: training.Training) -> tuple[findings.Coverage, Trained]:
    """The curves of the policies and of the training."""
    steps, found, first, best = dict(covered.steps), dict(covered.found), {}, {}
    for index, name in enumerate(training.NAMES):
        steps[name] = tuple(map(int, run.env_steps[index]))
        found[name] = tuple(map(float, np.round(run.found[index])))
        first[name] = float(run.first_reward[index, -1])
        returns = run.best_return[index]
        best[name] = float(np.nanmax(returns)) if np.isfinite(returns).any() else math.nan
    return dataclasses.replace(covered, steps=steps, found=found), Trained(first, best)
