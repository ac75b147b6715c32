"""Whether a bonus reaches more than random actions do: PPO with and without NovelD, for as many steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import networks, stepping
from purejaxrl.algos import PPO
from purejaxrl.bonuses import NovelD
from purejaxrl.diagnosis import play
from purejaxrl.envs.wrappers import Wrapper
from purejaxrl.train import make_train
from purejaxrl.types import Array, PyTree

NAMES = ("PPO", "PPO + NovelD")
COEF = 0.1  # with BONUS, what tuning chose on most tasks of docs/exploration.md
BONUS = {"normalise": "return_std", "learning_rate": 5e-4}
LEARNER = {"learning_rate": 1e-3}
NUM_ENVS = 16
FEWEST_STEPS = 512


class Training(NamedTuple):
    """Leaves ``[2, num_updates]``: without and with the bonus."""

    env_steps: Array  # int32
    found: Array  # float32, different states arrived at so far
    first_reward: Array  # float32, env steps until the first reward above 0, NaN before
    best_return: Array  # float32, of the episodes that ended in the update, NaN if none did


@struct.dataclass
class CodedState:
    env_state: PyTree
    code: Array  # int32, of the observation; -1 after a reset, which nothing arrives at


class Coded(Wrapper):
    """Keeps the code of the last observation in the state, so that visits of observations can be counted."""

    def __init__(self, env: Any, encode: Callable[[PyTree], Array]):
        super().__init__(env)
        self.encode = encode

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, CodedState]:
        obs, env_state = self.env.reset_env(key, params)
        return obs, CodedState(env_state, jnp.int32(-1))

    def step_env(self, key: Array, state: CodedState, action: Array, params: Any) -> tuple:
        obs, env_state, *rest = self.env.step_env(key, state.env_state, action, params)
        return obs, CodedState(env_state, self.encode(obs)), *rest


def train(
    env: Any,
    env_params: Any,
    key: Array,
    *,
    total_steps: int,
    cells: Any,
    encode: Callable[[PyTree], Array],
    normalise_obs: bool,
    bits: int,
) -> Training:
    """Train twice with the same keys, the bonus's weight 0 and COEF; jits.

    Args:
      env, env_params, key: as everywhere.
      total_steps: of each, at least FEWEST_STEPS; rounded down to 32 updates of whole steps.
      cells: the environment's :class:`purejaxrl.envs.Cells`, or None: then `encode` says which states are the same.
      encode: of one observation the code, int32 below ``play.TABLE``.
      normalise_obs: for PPO.
      bits: of the SimHash by which NovelD knows states again, 0 for exact observations.
    """
    num_steps = total_steps // (32 * NUM_ENVS)
    update = NUM_ENVS * num_steps
    size = play.TABLE if cells is None else cells.num_cells
    watched = Coded(env, encode) if cells is None else env
    cell_fn = (lambda state: state.code) if cells is None else cells.cell_fn
    obs, _ = jax.eval_shape(lambda: stepping.reset(env, env_params, key))
    num_epochs = 2 if networks.has_grid(obs) else 4  # a CNN takes most of the time
    learner = PPO(num_steps=num_steps, num_epochs=num_epochs, normalise_obs=normalise_obs, **LEARNER)

    def run(coef: Array) -> Training:
        bonus = NovelD(coef=coef, warmup_steps=update, bits=bits, **BONUS)
        trained = make_train(
            watched,
            learner,
            bonus=bonus,
            env_params=env_params,
            num_envs=NUM_ENVS,
            total_steps=32 * update,
            visits=(cell_fn, size),
        )
        metrics = trained(key).metrics
        found = metrics["coverage"] * size
        return Training(metrics["env_steps"], found, metrics["first_reward"], metrics["episode_return_max"])

    return jax.vmap(run)(jnp.array([0.0, COEF]))
