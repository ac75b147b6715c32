"""Every learner in its variants, small: name, settings, and the environment that its actions fit."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np

import purejaxrl
from purejaxrl import algos, discovery, memory, offpolicy

ON_POLICY = {"num_steps": 8, "num_epochs": 2, "num_minibatches": 2, "hidden": (8,)}
REPLAY = {"num_steps": 4, "buffer_size": 200, "batch_size": 16, "learning_starts": 32, "hidden": (8,)}
DQN = REPLAY | {"target_period": 20, "tau": 1.0}
RAINBOW = {"double": True, "dueling": True, "n_step": 3, "prioritised": True, "noisy": True, "head": "c51"}
RAINBOW |= {"epsilon_start": 0.0, "epsilon_end": 0.0}
VARIANTS = {
    "ppo": ("ppo", ON_POLICY),
    "ppo-gru": ("ppo", ON_POLICY | {"memory": "gru", "memory_size": 8, "hidden": (8, 8)}),
    "ppo-transformer": (
        "ppo",
        ON_POLICY | {"memory": "transformer", "memory_size": 8, "memory_window": 4, "hidden": (8, 8)},
    ),
    "dqn": ("dqn", DQN),
    "dqn-rainbow": ("dqn", DQN | RAINBOW | {"num_atoms": 11}),
    "dqn-qr-zeta": ("dqn", DQN | {"head": "qr", "num_atoms": 5, "zeta": 2.0}),
    "pqn": ("pqn", ON_POLICY),
    "pqn-gru": ("pqn", ON_POLICY | {"memory": "gru", "memory_size": 8, "hidden": (8, 8)}),
    "sac": ("sac", REPLAY),
    "bootdqn": ("bootdqn", REPLAY | {"num_members": 3, "bootstrap": True, "noise_scale": 0.1}),
    "bootpqn": ("bootpqn", ON_POLICY | {"num_members": 3}),
    "hyperagent": ("hyperagent", REPLAY | {"num_targets": 2, "noise_scale": 0.1}),
}


def make(name, **settings):
    """The learner of this variant; a learner that the package holds but the table does not comes with its defaults."""
    algo, defaults = VARIANTS.get(name, (name, {}))
    return discovery.load(algos, algo)(**(defaults | settings))


def is_continuous(name):
    return VARIANTS.get(name, (name,))[0] == "sac"


def bind(env, learner, *, num_envs=4, total_steps=2_000, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return purejaxrl.make_train(env, learner, num_envs=num_envs, total_steps=total_steps, **kwargs)


def trace(env, env_params):
    """A short run's result as shapes, traced but not compiled, with the environment's parameters as arguments."""

    def run(env_params, key):
        return bind(env, algos.PPO(num_steps=4), env_params=env_params, num_envs=2, total_steps=16)(key)

    return jax.eval_shape(run, env_params, jax.random.key(0))


def lapack_calls(lowered):
    """Those in a vmapped program: on the CPU a batched one could deadlock XLA's thread pool."""
    return re.findall(r"custom_call.*(lapack|Qr|Cholesky|Svd|Eigh|triangular)", lowered.as_text(), re.IGNORECASE)


def learn(env, learner, seed=0, **kwargs):
    """Train and return the learner's state."""
    return jax.jit(bind(env, learner, **kwargs))(jax.random.key(seed)).state.learner


def values(learner, state, obs):
    """The learned value of each observation of one episode, ``[L]``, greedy in its actions where it has them."""
    obs = jnp.asarray(obs, jnp.float32)
    if isinstance(learner, algos.SAC):
        action = learner.act(state, (), jax.random.key(0), obs, jnp.ones(len(obs), bool), None, greedy=True)[1]
        return np.asarray(learner._values(state.critic_params, obs, action).min(0))
    if isinstance(learner, algos.BootDQN):
        return np.asarray(learner._values(state, state.params, state.prior, obs).mean(0).max(-1))
    if isinstance(learner, algos.BootPQN):
        return np.asarray(learner._values(state, obs).mean(0).max(-1))
    if isinstance(learner, algos.HyperAgent):
        return np.asarray(learner._values(state, state.params, state.prior, obs)[..., 0].max(-1))
    carry, found = memory.initial_carry(state.network, 1), []
    for time, x in enumerate(obs):
        carry, output = memory.step(state.network, state.params, carry, x[None], jnp.array([time == 0]))
        if isinstance(learner, algos.PPO):
            found.append(output[1][0, 0])
        else:
            found.append((learner._mean(output) if isinstance(learner, algos.DQN) else output).max())
    return np.asarray(found)


def samples(last_mask=None):
    """An ordinary step from state 0 to 2, a terminated one from 1, one from 2 to 1."""
    return offpolicy.Sample(
        obs=jnp.array([[0.0], [1.0], [2.0]]),
        action=jnp.array([1, 0, 1]),
        reward=jnp.array([1.0, 2.0, 3.0]),
        discount=jnp.array([0.9, 0.0, 0.9]),
        last=jnp.array([[2.0], [1.0], [1.0]]),
        last_mask=last_mask,
        weight=jnp.array([1.0, 0.5, 0.25]),
        place=jnp.array([3, 4, 8]),
    )
