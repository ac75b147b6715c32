"""The one loop: act, step, observe, auto-reset, then bonus, learner and bonus update, as pure functions of a state."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import intrinsic, stepping
from purejaxrl import visits as ground_truth
from purejaxrl.resets import FreshResets
from purejaxrl.types import (
    LEARNER,
    RESETS,
    Array,
    Bonus,
    Featured,
    Learner,
    Metrics,
    PyTree,
    Resets,
    SettingError,
    Spec,
    Transition,
    check_component,
    check_int,
    check_key,
    check_protocol,
)


class TrainState(struct.PyTreeNode):
    """Everything a run is: saving it and going on gives the same run. ``E`` is num_envs."""

    learner: PyTree
    bonus: PyTree
    actor: PyTree  # leaves [E, ...]
    env: PyTree  # environment states, leaves [E, ...]
    obs: PyTree  # [E, ...], what the next step acts on
    first: Array  # bool [E], obs opens an episode
    resets: PyTree
    key: Array
    update: Array  # int32 scalar, updates done
    episode_return: Array  # float32 [E], so far
    episode_length: Array  # int32 [E], so far
    env_steps: Array  # int32 scalar, over all envs, warm-up included
    first_reward: Array  # int32 scalar, env_steps when a reward was positive for the first time; -1 before
    bonus_scale: Any  # intrinsic.Scale, statistics that the bonus is normalised by; None without a bonus
    visits: Any  # int32 [num_cells], how often each cell was arrived at, warm-up included; None when not asked for


def check_state(state: Any) -> None:
    """Raise :class:`SettingError` unless it is the state of one run."""
    if not isinstance(state, TrainState):
        raise SettingError(f"state must be Result.state, got {type(state).__name__}")
    if runs := jnp.shape(state.update):
        raise SettingError(f"state must be that of one run, got a batch of shape {runs}; jax.vmap over several")


class Result(NamedTuple):
    state: TrainState
    metrics: Metrics  # each [num_updates, ...]


def make_train(
    env: Any,
    learner: Learner,
    *,
    bonus: Bonus | None = None,
    env_params: PyTree = None,
    num_envs: int,
    total_steps: int,
    resets: Resets | None = None,
    visits: tuple[Callable[[PyTree], Array], int] | None = None,
) -> Train:
    """Bind an environment, a learner and perhaps a bonus into one training run, a pure function of a key.

    ``train = make_train(env, PPO(), env_params=env_params, num_envs=8, total_steps=100_000)``, then
    ``result = jax.jit(train)(jax.random.key(0))``, or ``jax.jit(jax.vmap(train))(keys)`` for several seeds.

    Args:
      env: a gymnax environment, the first of the two that :func:`purejaxrl.make` returns.
      learner: for example ``PPO(learning_rate=1e-3)``; its numbers may be traced.
      bonus: for example ``RND(coef=0.5)``, or None.
      env_params: the environment's parameters, the second of the two; None means its defaults.
      num_envs: environments stepped in parallel.
      total_steps: environment steps over all envs, a bonus's warm-up included. Rounded down to whole updates of
        ``num_envs * learner.num_steps``, with a warning that says so; `Train.env_steps` is what really runs.
      resets: where episodes start: None means the environment's own resets.
      visits: ``(cell_fn, num_cells)`` counts exactly how often each cell ``cell_fn(env_state) -> int32`` is arrived at
        (state before auto-reset), in ``state.visits``; a negative id is not counted. Off, it costs nothing.

    Returns:
      A :class:`Train`: ``train(key) -> Result(state, metrics)``, ``train.init(key)``, ``train.advance(state, n)``.

    Raises:
      SettingError: (a ValueError) where a setting is wrong, by its name. Traced numbers are not looked at.
    """
    check_protocol(env)
    check_component(learner, "algo", LEARNER)
    check_int(getattr(learner, "num_steps", None), "algo.num_steps", ge=1)
    if bonus is not None:
        intrinsic.check(bonus)
    if resets is not None:
        check_component(resets, "resets", RESETS)
    check_int(num_envs, "num_envs", ge=1)
    check_int(total_steps, "total_steps", ge=1)
    env_params = stepping.check_params(env, env_params)
    if visits is not None:
        ground_truth.check(visits, "visits", env, env_params)

    warmup_steps = intrinsic.warmup_steps(bonus)
    if warmup_steps:
        warmup_steps = max(warmup_steps // num_envs, 1) * num_envs  # whole steps of all envs
    per_update = num_envs * learner.num_steps
    num_updates = (total_steps - warmup_steps) // per_update
    if num_updates < 1:
        extra = f" after {warmup_steps} warm-up steps (bonus.warmup_steps)" if warmup_steps else ""
        raise SettingError(
            f"total_steps must allow at least one update of num_envs * num_steps = {num_envs} * {learner.num_steps} = "
            f"{per_update} steps{extra}, got {total_steps}"
        )
    steps = num_updates * per_update + warmup_steps
    if steps != total_steps:
        warnings.warn(
            f"total_steps {total_steps:,} rounded down to {steps:,}: whole updates of {per_update:,}", stacklevel=2
        )

    spec = stepping.make_spec(
        env,
        env_params,
        num_envs=num_envs,
        num_steps=learner.num_steps,
        num_updates=num_updates,
        warmup_steps=warmup_steps,
        has_bonus=bonus is not None,
    )
    resets = FreshResets() if resets is None else resets
    _check_fit(resets, spec)
    _check_fit(bonus, spec)
    train = Train(env, learner, bonus, env_params, resets, visits, spec)
    _check_fit(learner, train.learner_spec)
    return train


class Train:
    """One training run as pure functions. Hashed by identity, so that ``jax.jit(train)`` works."""

    def __init__(self, env, learner, bonus, env_params, resets, visits, spec):
        self.env, self.learner, self.bonus, self.env_params = env, learner, bonus, env_params
        self.resets, self.visits, self.spec = resets, visits, spec
        # Traced once, wherever the program has them, and inlined there: MiniGrid's take a second of Python.
        self._begin = jax.jit(functools.partial(stepping.reset, env, env_params), inline=True)
        self._step_one = jax.jit(functools.partial(stepping.step, env, env_params), inline=True)
        self.num_updates, self.warmup = spec.num_updates, spec.warmup_steps // spec.num_envs  # of each env
        # As the whole run really takes.
        self.env_steps = spec.warmup_steps + spec.num_envs * spec.num_updates * spec.num_steps
        self.learner_spec = self._featured_spec()
        self.learner_spec = dataclasses.replace(self.learner_spec, transition=self._example_transition())

    def __call__(self, key: Array) -> Result:
        """Run from `key` to the end."""
        return Result(*self.advance(self.init(key), self.num_updates))

    def init(self, key: Array) -> TrainState:
        """The state before the first update, a bonus's warm-up done."""
        check_key(key)
        key, learner_key, bonus_key, actor_key, resets_key, env_key, warmup_key = jax.random.split(key, 7)
        state = self._start(key, bonus_key, resets_key, env_key).replace(
            learner=self.learner.init(learner_key, self.learner_spec),
            actor=self.learner.init_actor(actor_key, self.learner_spec),
        )
        return self._warm_up(state, warmup_key) if self.warmup else state

    def _start(self, key: Array, bonus_key: Array, resets_key: Array, env_key: Array) -> TrainState:
        """The state at the first step, but for what is the learner's."""
        num_envs = self.spec.num_envs
        resets = self.resets.init(resets_key, self.spec, self._begin)
        shapes = jax.eval_shape(jax.vmap(self._begin), jax.random.split(env_key, num_envs))
        nowhere = jax.tree.map(lambda leaf: jax.lax.full(leaf.shape, 0, leaf.dtype), shapes)
        everyone = jnp.ones(num_envs, bool)
        resets, (obs, env_state) = self.resets.reset(resets, env_key, everyone, self._begin, nowhere)
        return TrainState(
            learner=None,
            bonus=None if self.bonus is None else self.bonus.init(bonus_key, self.spec),
            actor=None,
            env=env_state,
            obs=obs,
            first=jnp.ones(num_envs, bool),
            resets=resets,
            key=key,
            update=jnp.zeros((), jnp.int32),
            episode_return=jnp.zeros(num_envs),
            episode_length=jnp.zeros(num_envs, jnp.int32),
            env_steps=jnp.zeros((), jnp.int32),
            first_reward=jnp.full((), -1, jnp.int32),
            bonus_scale=None if self.bonus is None else intrinsic.init(self.bonus, num_envs),
            visits=None if self.visits is None else jnp.zeros(self.visits[1], jnp.int32),
        )

    def advance(self, state: TrainState, num_updates: int) -> tuple[TrainState, Metrics]:
        """Do `num_updates` (static) more updates; metrics have that leading axis. Jit it yourself.

        Schedules end with the run's own number of updates: going on beyond it keeps their last value.
        """
        check_int(num_updates, "num_updates", ge=1)
        check_state(state)
        return jax.lax.scan(lambda state, _: self._update(state), state, length=num_updates)

    def _update(self, state: TrainState) -> tuple[TrainState, Metrics]:
        before, actor0, visits0 = state, state.actor, state.visits
        key, rollout_key, learner_key, bonus_key = jax.random.split(state.key, 4)
        state, (batch, episodes) = jax.lax.scan(self._step, state, self._keys(rollout_key, self.spec.num_steps))
        state, metrics = state.replace(key=key, update=state.update + 1), _episode_metrics(*episodes)
        state = state.replace(**self._found(before, batch))

        bonus, bonus_state, scale = self.bonus, state.bonus, state.bonus_scale
        env_steps = state.env_steps
        value, bonus_metrics = jnp.zeros(()), {}
        if bonus is not None:
            raw = bonus.reward(bonus_state, self._plain(batch), batch.memo)
            scale = intrinsic.update(bonus, scale, raw, env_steps)
            value = intrinsic.combined(bonus, scale, raw, env_steps)
            batch = batch.replace(bonus=intrinsic.weigh(bonus, scale, raw, env_steps))

        reward_fn = functools.partial(self._weighed, bonus_state, scale, env_steps)
        learner_state, learner_metrics = self.learner.update(state.learner, learner_key, batch, actor0, reward_fn)
        if bonus is not None:
            bonus_state, bonus_metrics = bonus.update(bonus_state, bonus_key, self._plain(batch))
        state = state.replace(learner=learner_state, bonus=bonus_state, bonus_scale=scale)
        metrics |= {
            "env_steps": env_steps,
            "first_reward": jnp.where(state.first_reward < 0, jnp.nan, state.first_reward),
            "bonus_mean": jnp.zeros(()) if batch.bonus is None else batch.bonus.mean(),
            "bonus_raw_mean": value.mean(),
            "nonfinite": _nonfinite(batch),
        }
        if state.visits is not None:
            metrics["coverage"] = ground_truth.coverage(state.visits)
            metrics["visit_entropy"] = ground_truth.entropy(state.visits)
            if bonus is not None:
                metrics["bonus_rank_correlation"] = ground_truth.rank_correlation(value, visits0, batch.cell)
        for name, more in (("algo", learner_metrics), ("bonus", bonus_metrics)):
            if clash := metrics.keys() & more.keys():
                raise SettingError(f"{name}: its metric {sorted(clash)[0]!r} has a name that is already taken")
            metrics |= more
        return state, metrics

    @jax.named_scope("bonus")
    def _weighed(self, bonus_state: PyTree, scale: PyTree, env_steps: Array, transition: Transition, memo: PyTree):
        """The bonus of any transitions, as the learner adds it to their reward."""
        if self.bonus is None:
            return jnp.zeros_like(transition.reward)
        raw = self.bonus.reward(bonus_state, self._plain(transition), memo)
        return intrinsic.weigh(self.bonus, scale, raw, env_steps)

    def _keys(self, key: Array, num_steps: int) -> tuple[Array, Array, Array]:
        """Keys of so many steps: of acting ``[num_steps]``, of envs ``[num_steps, num_envs]``, of resets."""

        def of_step(key):
            act_key, env_key, reset_key = jax.random.split(key, 3)
            return act_key, jax.random.split(env_key, self.spec.num_envs), reset_key

        return jax.vmap(of_step)(jax.random.split(key, num_steps))

    def _step(self, state: TrainState, keys: tuple[Array, Array, Array]) -> tuple[TrainState, Any]:
        act_key, env_keys, reset_key = keys
        seen, mask = self._featured(state.bonus, state.obs), self._masks(state.env)
        actor, action, extras = self.learner.act(state.learner, state.actor, act_key, seen, state.first, mask)
        state, transition, episode = self._record(state.replace(actor=actor), env_keys, reset_key, seen, action, mask)
        return state, (transition.replace(extras=extras), episode)

    def _record(self, state: TrainState, env_keys: Array, reset_key: Array, seen: PyTree, action: Array, mask: Any):
        """Step every env and let the bonus observe: the state, the transition as the learner sees it, the episodes."""
        state, transition, episode = self._env_step(state, env_keys, reset_key, action, mask)
        if self.bonus is not None:
            before, (bonus_state, memo) = state.bonus, self.bonus.observe(state.bonus, transition)
            next_seen = transition.next_obs
            if self.learner_spec.num_features:
                # Features of the true final observation belong to the episode that ends: no memory reset yet.
                never = jnp.zeros_like(transition.terminated)
                same_episode, _ = self.bonus.observe(before, transition.replace(terminated=never, truncated=never))
                next_seen = self._featured(same_episode, next_seen)
            state = state.replace(bonus=bonus_state)
            transition = transition.replace(memo=memo, obs=seen, next_obs=next_seen)
        return state, transition, episode

    def _env_step(self, state: TrainState, env_keys: Array, reset_key: Array, action: Array, mask: Array | None):
        """Step every env, auto-reset (here and nowhere else), count episodes."""
        next_obs, env_state, reward, terminated, truncated = jax.vmap(self._step_one)(env_keys, state.env, action)
        transition = Transition(
            obs=state.obs,
            action=action,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            next_obs=next_obs,
            first=state.first,
            mask=mask,
            next_mask=self._masks(env_state),
            cell=None if self.visits is None else jax.vmap(self.visits[0])(env_state).astype(jnp.int32),
        )
        resets = self.resets.observe(state.resets, env_state, transition)
        done = terminated | truncated
        resets, (obs, env_state) = self.resets.reset(resets, reset_key, done, self._begin, (next_obs, env_state))
        episode_return, episode_length = state.episode_return + reward, state.episode_length + 1
        state = state.replace(
            env=env_state,
            obs=obs,
            first=done,
            resets=resets,
            episode_return=jnp.where(done, 0.0, episode_return),
            episode_length=jnp.where(done, 0, episode_length),
            env_steps=state.env_steps + self.spec.num_envs,
        )
        return state, transition, (done, episode_return, episode_length)

    def _found(self, before: TrainState, batch: Transition) -> dict[str, Any]:
        """The visits and the first reward after ``[num_steps, num_envs]`` transitions from the state `before`.

        Of all steps at once: where the envs are spread over devices these have to agree here, and not at each step.
        """
        rewarded = (batch.reward > 0).any(axis=1)
        when = before.env_steps + (1 + jnp.argmax(rewarded).astype(jnp.int32)) * self.spec.num_envs
        found = (before.first_reward < 0) & rewarded.any()
        return {
            "first_reward": jnp.where(found, when, before.first_reward),
            "visits": None if self.visits is None else ground_truth.count(before.visits, batch.cell),
        }

    def _warm_up(self, state: TrainState, key: Array) -> TrainState:
        """Let the bonus see random steps, then start training on fresh episodes."""
        scan_key, update_key, reset_key = jax.random.split(key, 3)

        def random_step(state, step):
            (act_key, env_keys, reset_key), last = step
            mask = self._masks(state.env)
            action = self._random_actions(act_key, mask)
            state, transition, _ = self._env_step(state, env_keys, reset_key, action, mask)
            transition = transition.replace(truncated=transition.truncated | last)
            bonus_state, memo = self.bonus.observe(state.bonus, transition)
            return state.replace(bonus=bonus_state), transition.replace(memo=memo)

        steps = self._keys(scan_key, self.warmup), jnp.arange(self.warmup) == self.warmup - 1
        warm, batch = jax.lax.scan(random_step, state, steps)
        bonus_state, _ = self.bonus.update(warm.bonus, update_key, batch)
        everyone, now = jnp.ones(self.spec.num_envs, bool), (warm.obs, warm.env)
        resets, (obs, env_state) = self.resets.reset(warm.resets, reset_key, everyone, self._begin, now)
        return state.replace(
            bonus=bonus_state,
            obs=obs,
            env=env_state,
            resets=resets,
            env_steps=warm.env_steps,
            **self._found(state, batch),
        )

    def _random_actions(self, key: Array, mask: Array | None) -> Array:
        act = jax.vmap(functools.partial(stepping.random_action, self.env, self.env_params))
        return act(jax.random.split(key, self.spec.num_envs), mask)

    def _masks(self, env_state: PyTree) -> Array | None:
        return jax.vmap(functools.partial(stepping.action_mask, self.env, self.env_params))(env_state)

    def _featured(self, bonus_state: PyTree, obs: PyTree) -> PyTree:
        return Featured(obs, self.bonus.features(bonus_state, obs)) if self.learner_spec.num_features else obs

    def _plain(self, transition: Transition) -> Transition:
        """The transition as the bonus knows it: without its own features."""
        if not self.learner_spec.num_features:
            return transition
        return transition.replace(obs=transition.obs.obs, next_obs=transition.next_obs.obs)

    def _example_transition(self) -> Transition:
        """Shapes and dtypes of what a rollout records of one env's step, without the learner's extras."""

        def record():
            key = jax.random.key(0)
            state = self._start(*jax.random.split(key, 4))
            seen, mask = self._featured(state.bonus, state.obs), self._masks(state.env)
            keys = jax.random.split(key, self.spec.num_envs)
            return self._record(state, keys, key, seen, self._random_actions(key, mask), mask)[1]

        batch = jax.eval_shape(record)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), batch)

    def _featured_spec(self) -> Spec:
        """The spec with the width of the bonus's features, which the learner sees beside each observation."""
        if not callable(getattr(self.bonus, "features", None)):
            return self.spec

        def features():
            key = jax.random.key(0)
            obs = self._start(*jax.random.split(key, 4)).obs
            return self.bonus.features(self.bonus.init(key, self.spec), obs)

        shape = jax.eval_shape(features).shape
        return dataclasses.replace(self.spec, num_features=shape[-1])


def _episode_metrics(done: Array, episode_return: Array, episode_length: Array) -> dict[str, Array]:
    """Reduce ``[num_steps, num_envs]`` to means over the episodes that ended; NaN if none did."""
    count = done.sum()
    return {
        "num_episodes": count,
        "episode_return": jnp.sum(episode_return, where=done) / count,
        "episode_return_max": jnp.where(count, jnp.max(episode_return, where=done, initial=-jnp.inf), jnp.nan),
        "episode_length": jnp.sum(episode_length, where=done) / count,
    }


def _nonfinite(batch: Transition) -> Array:
    """0, or the sum of 1 where a reward is not finite, and 2 where a number in an observation is not."""
    seen = [leaf for leaf in jax.tree.leaves((batch.obs, batch.next_obs)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    observations = jnp.all(jnp.asarray([jnp.isfinite(leaf).all() for leaf in seen], bool))
    return jnp.asarray(~jnp.isfinite(batch.reward).all() + 2 * ~observations, jnp.int32)


def _check_fit(component: Any, spec: Spec) -> None:
    """Let a component that has a `check` say whether it fits."""
    if hasattr(component, "check"):
        component.check(spec)
