"""Evaluation on fresh episodes, with keys of its own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl import intrinsic, stepping
from purejaxrl.train import Train, TrainState, check_state
from purejaxrl.types import (
    LARGEST_INT,
    LEARNER,
    Array,
    Bonus,
    Featured,
    Learner,
    PyTree,
    SettingError,
    Transition,
    check_bool,
    check_component,
    check_int,
    check_key,
    check_protocol,
)

EVALUATION = 0x6576616C
MOST_STEPS = 100_000  # of an episode where the environment itself has no limit


class Evaluation(NamedTuple):
    """One entry per episode, each ``[num_episodes]``."""

    episode_return: Array  # float32, undiscounted
    episode_length: Array  # int32
    finished: Array  # bool, whether the episode ended within the cap


class Film(NamedTuple):
    """One episode as frames, the state after the reset first; later frames than the episode's last one repeat it."""

    env_state: PyTree  # leaves [num_frames + 1, ...]
    step: Array  # int32 [num_frames + 1], steps taken
    episode_return: Array  # float32 [num_frames + 1], until there


class Policy(NamedTuple):
    """A trained policy, one step of one environment at a time, for wherever actions are wanted."""

    init: Callable[[Array], PyTree]  # of a key: what the policy carries from step to step
    act: Callable[..., tuple[PyTree, Array]]  # compiled; see :func:`policy`


class _Play(NamedTuple):
    """Episodes under way, leaves ``[num_episodes, ...]``; those that ended are played on and no longer counted."""

    time: Array  # int32, one for all
    actor: PyTree
    memory: PyTree  # of a bonus whose features the policy sees
    obs: PyTree
    env_state: PyTree
    alive: Array  # bool
    total: Array  # float32
    length: Array  # int32


def evaluate(
    env: Any,
    learner: Learner,
    state: TrainState,
    key: Array,
    num_episodes: int,
    *,
    env_params: Any = None,
    greedy: bool = True,
    max_steps: int | None = None,
    bonus: Bonus | None = None,
) -> Evaluation:
    """Play `num_episodes` episodes at once with a trained policy; jits and vmaps (over `state` and `key`).

    Every episode counts exactly once, whatever its length, so short ones weigh no more than long ones.

    Args:
      env: the environment trained on, or another one with the same spaces.
      learner: the settings that were trained.
      state: ``Result.state``.
      key: the episodes' own key; even from the same number as training's it leads to other episodes.
      num_episodes: episodes, stepped in parallel.
      env_params: the environment's parameters; None means its defaults.
      greedy: the mode of the policy, or samples from it.
      max_steps: cap on the steps of an episode; None means the environment's ``max_steps_in_episode``, or 100,000 where
        it has no limit.
      bonus: the bonus trained with, needed where the policy sees its features (SOFE). It watches the episodes as in
        training, from empty episodic memory, and learns nothing.

    Raises:
      SettingError: where an argument is wrong, by its name.
    """
    start, step, cap = _episodes(env, learner, state, key, num_episodes, env_params, greedy, max_steps, bonus)
    end = _play_until(cap, step, start)
    return Evaluation(end.total, end.length, ~end.alive)


def film(
    env: Any,
    learner: Learner,
    state: TrainState,
    key: Array,
    num_frames: int,
    *,
    env_params: Any = None,
    greedy: bool = True,
    max_steps: int | None = None,
    bonus: Bonus | None = None,
) -> Film:
    """Play one episode as :func:`evaluate` does and keep its env states: all, or every n-th if there are too many.

    The episode is played twice, first for its length: so it never takes more memory than its frames.

    Args:
      num_frames: frames after the first one, at most; the last state is always among them.
      env, learner, state, key, env_params, greedy, max_steps, bonus: see :func:`evaluate`.

    Raises:
      SettingError: where an argument is wrong, by its name.
    """
    check_int(num_frames, "num_frames", ge=1)
    start, step, cap = _episodes(env, learner, state, key, 1, env_params, greedy, max_steps, bonus)
    stride = -(-_play_until(cap, step, start).time // num_frames)

    def kept(play: _Play) -> Film:
        return jax.tree.map(lambda leaf: leaf[0], Film(play.env_state, play.length, play.total))

    def forward(play: _Play, end: Array) -> tuple[_Play, Film]:
        play = _play_until(jnp.minimum(end, cap), step, play)
        return play, kept(play)

    _, later = jax.lax.scan(forward, start, stride * jnp.arange(1, num_frames + 1))
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), kept(start), later)


def policy(train: Train, state: TrainState, *, greedy: bool = True) -> Policy:
    """The policy that was trained, outside of any loop of ours: a game's server, a robot, another library.

    ``carried = policy.init(key)`` once, then at each step ``carried, action = policy.act(carried, key, obs, first)``,
    with the observation of one environment as it is (no leading axis), whether it begins an episode, and where actions
    are masked its mask as a fifth argument. Every step wants a key of its own.

    Args:
      train: the run, of ``make_train`` or ``purejaxrl.runs.restore(folder).train``.
      state: ``Result.state`` of one seed: ``jax.tree.map(lambda leaf: leaf[0], state)`` of several.
      greedy: the mode of the policy, or samples from it.

    Raises:
      SettingError: where an argument is wrong, or the policy sees features of a bonus (SOFE), which need its memory.
    """
    check_state(state)
    check_bool(greedy, "greedy")
    spec = dataclasses.replace(train.learner_spec, num_envs=1)
    if spec.num_features:
        raise SettingError("train: its policy sees features of the bonus: play it with purejaxrl.evaluate")
    add = functools.partial(jax.tree.map, lambda leaf: jnp.asarray(leaf)[None])

    def act(carried: PyTree, key: Array, obs: PyTree, first: Any, mask: Any = None) -> tuple[PyTree, Array]:
        carried, action, _ = train.learner.act(
            state.learner, carried, key, add(obs), add(first), add(mask), greedy=greedy
        )
        return carried, stepping.clipped(train.env.action_space(train.env_params), action[0])

    return Policy(lambda key: train.learner.init_actor(key, spec), jax.jit(act))


def _play_until(end: Any, step: Callable[[_Play], _Play], play: _Play) -> _Play:
    """Take steps until `end` of them are taken in all, or every episode has ended."""
    return jax.lax.while_loop(lambda play: (play.time < end) & play.alive.any(), step, play)


def _episodes(
    env: Any,
    learner: Learner,
    state: TrainState,
    key: Array,
    num_episodes: int,
    env_params: Any,
    greedy: bool,
    max_steps: int | None,
    bonus: Bonus | None,
) -> tuple[_Play, Callable[[_Play], _Play], Any]:
    """The start of fresh episodes, one step of them, and the cap on their steps."""
    check_protocol(env)
    check_component(learner, "learner", LEARNER)
    check_key(key)
    check_bool(greedy, "greedy")
    check_int(num_episodes, "num_episodes", ge=1)
    env_params = stepping.check_params(env, env_params)
    if max_steps is None:
        limit = getattr(env_params, "max_steps_in_episode", LARGEST_INT)
        cap = jnp.where(jnp.asarray(limit) >= LARGEST_INT, MOST_STEPS, limit)
    else:
        check_int(max_steps, "max_steps", ge=1)
        cap = max_steps
    check_state(state)
    if bonus is not None:
        intrinsic.check(bonus)
    spec = stepping.make_spec(
        env,
        env_params,
        num_envs=num_episodes,
        num_steps=learner.num_steps,
        num_updates=1,
        has_bonus=state.bonus is not None,
    )
    features: Any = getattr(bonus, "features", None)
    bonus = bonus if features else None  # another one the policy never saw
    if features and state.bonus is None:
        raise SettingError("bonus: state was trained without one: leave it out")
    step = jax.vmap(functools.partial(stepping.step, env, env_params))
    # Folded into a domain of its own: training's keys come from splits, and a user may well pass the same seed to both.
    actor_key, reset_key, loop_key, bonus_key = jax.random.split(jax.random.fold_in(key, EVALUATION), 4)
    obs, env_state = jax.vmap(functools.partial(stepping.reset, env, env_params))(
        jax.random.split(reset_key, num_episodes)
    )

    memory = ()
    if bonus is not None:
        memory = intrinsic.for_fresh_episodes(bonus, state.bonus, bonus_key, spec)
        spec = dataclasses.replace(spec, num_features=features(memory, obs).shape[-1])

    actor = learner.init_actor(actor_key, spec)
    seen = obs if bonus is None else Featured(obs, features(memory, obs))
    mask = jax.vmap(functools.partial(stepping.action_mask, env, env_params))(env_state)
    _check_fit(learner, state, actor, seen, jnp.ones(num_episodes, bool), mask, greedy=greedy)

    def play(now: _Play) -> _Play:
        act_key, env_key = jax.random.split(jax.random.fold_in(loop_key, now.time))
        mask = jax.vmap(functools.partial(stepping.action_mask, env, env_params))(now.env_state)
        first = jnp.full(num_episodes, now.time == 0)
        seen = now.obs if bonus is None else Featured(now.obs, features(now.memory, now.obs))
        actor, action, _ = learner.act(state.learner, now.actor, act_key, seen, first, mask, greedy=greedy)
        env_keys = jax.random.split(env_key, num_episodes)
        next_obs, env_state, reward, terminated, truncated = step(env_keys, now.env_state, action)
        memory = now.memory
        if bonus is not None:
            transition = Transition(
                obs=now.obs,
                action=action,
                reward=reward,
                terminated=terminated,
                truncated=truncated,
                next_obs=next_obs,
                first=first,
                mask=mask,
            )
            memory, _ = bonus.observe(memory, transition)
        return _Play(
            time=now.time + 1,
            actor=actor,
            memory=memory,
            obs=next_obs,
            env_state=env_state,
            alive=now.alive & ~(terminated | truncated),
            total=now.total + jnp.where(now.alive, reward, 0.0),
            length=now.length + now.alive,
        )

    start = _Play(
        time=jnp.zeros((), jnp.int32),
        actor=actor,
        memory=memory,
        obs=obs,
        env_state=env_state,
        alive=jnp.ones(num_episodes, bool),
        total=jnp.zeros(num_episodes),
        length=jnp.zeros(num_episodes, jnp.int32),
    )
    return start, play, cap


def _check_fit(learner: Learner, state: TrainState, actor: PyTree, *seen: Any, greedy: bool) -> None:
    """Raise :class:`SettingError` unless the learner can act from this state on what it sees."""
    try:
        jax.eval_shape(lambda: learner.act(state.learner, actor, jax.random.key(0), *seen, greedy=greedy))
    except Exception as error:  # whatever its network raises
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error).strip() else repr(error)
        wanted = "give the env, the learner and, where the policy sees its features, the bonus that it was trained with"
        raise SettingError(f"state does not fit: {wanted} ({reason})") from error
