"""Evaluation on fresh episodes, with keys of its own."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl import intrinsic, stepping
from purejaxrl.train import TrainState
from purejaxrl.types import Array, Bonus, Featured, Learner, SettingError, Transition, check_int

EVALUATION = 0x6576616C


class Evaluation(NamedTuple):
    """One entry per episode, each ``[num_episodes]``."""

    episode_return: Array  # float32, undiscounted
    episode_length: Array  # int32
    finished: Array  # bool, whether the episode ended within the cap


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
      max_steps: cap on the steps of an episode; None means the environment's ``max_steps_in_episode``.
      bonus: the bonus trained with, needed where the policy sees its features (SOFE). It watches the episodes as in
        training, from empty episodic memory, and learns nothing.

    Raises:
      SettingError: where an argument is wrong, by its name.
    """
    stepping.check_protocol(env)
    check_int(num_episodes, "num_episodes", ge=1)
    env_params = env.default_params if env_params is None else env_params
    if max_steps is None:
        max_steps = getattr(env_params, "max_steps_in_episode", None)
        if max_steps is None:
            raise SettingError("max_steps must be given: the environment has no max_steps_in_episode")
    else:
        check_int(max_steps, "max_steps", ge=1)
    if not isinstance(state, TrainState):
        raise SettingError(f"state must be Result.state, got {type(state).__name__}")
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

    def playing(carry):
        time, *_, alive, _, _ = carry
        return (time < max_steps) & alive.any()

    def play(carry):
        time, actor, memory, obs, env_state, alive, total, length = carry
        act_key, env_key = jax.random.split(jax.random.fold_in(loop_key, time))
        mask = jax.vmap(functools.partial(stepping.action_mask, env, env_params))(env_state)
        first = jnp.full(num_episodes, time == 0)
        seen = obs if bonus is None else Featured(obs, features(memory, obs))
        actor, action, _ = learner.act(state.learner, actor, act_key, seen, first, mask, greedy=greedy)
        env_keys = jax.random.split(env_key, num_episodes)
        next_obs, env_state, reward, terminated, truncated = step(env_keys, env_state, action)
        if bonus is not None:
            transition = Transition(
                obs=obs,
                action=action,
                reward=reward,
                terminated=terminated,
                truncated=truncated,
                next_obs=next_obs,
                first=first,
                mask=mask,
            )
            memory, _ = bonus.observe(memory, transition)
        total, length = total + jnp.where(alive, reward, 0.0), length + alive
        return time + 1, actor, memory, next_obs, env_state, alive & ~(terminated | truncated), total, length

    alive, total, length = jnp.ones(num_episodes, bool), jnp.zeros(num_episodes), jnp.zeros(num_episodes, jnp.int32)
    actor = learner.init_actor(actor_key, spec)
    carry = (jnp.zeros((), jnp.int32), actor, memory, obs, env_state, alive, total, length)
    *_, alive, total, length = jax.lax.while_loop(playing, play, carry)
    return Evaluation(total, length, ~alive)
