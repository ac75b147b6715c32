"""The worker of `purejaxrl bench speed` that trains PureJaxRL's PPO or DQN, from a checkout of its repository.

Its settings are those of the work; what the work turns off, gradient clipping and annealing, is off here as well. Its
DQN is made for a network of its own, whose place that of the work takes here.
"""

import functools
import importlib
import pathlib
import sys
import unittest.mock

import flax.linen as nn
import jax
import jax.numpy as jnp
from serving import serve

EPISODES, LIMIT = 128, 500
# Packages that it imports for environments and logs that are not used here.
UNUSED = ("navix", "brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training", "wandb")


class QNetwork(nn.Module):
    """Of the work: two layers of 64."""

    action_dim: int

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.swish(nn.Dense(64)(x))
        return nn.Dense(self.action_dim)(x)


def load(work):
    sys.path.insert(0, str(pathlib.Path(work["checkout"]) / "purejaxrl"))
    for name in UNUSED:
        sys.modules[name] = unittest.mock.MagicMock()
    if not hasattr(jax, "tree_map"):
        jax.tree_map = jax.tree.map  # its name when the DQN was written
    importlib.import_module(work["algo"])


def ppo(work):
    """The train function, and the best actions of what it has trained."""
    from ppo import ActorCritic, make_train

    asked = work["settings"]
    config = {
        "ENV_NAME": work["env"],
        "NUM_ENVS": work["num_envs"],
        "TOTAL_TIMESTEPS": work["total_steps"],
        "NUM_STEPS": asked["num_steps"],
        "UPDATE_EPOCHS": asked["num_epochs"],
        "NUM_MINIBATCHES": asked["num_minibatches"],
        "LR": asked["learning_rate"],
        "GAMMA": asked["gamma"],
        "GAE_LAMBDA": asked["gae_lambda"],
        "CLIP_EPS": asked["clip_eps"],
        "ENT_COEF": asked["ent_coef"],
        "VF_COEF": asked["vf_coef"],
        "ACTIVATION": asked["activation"],
        "MAX_GRAD_NORM": 1e6,
        "ANNEAL_LR": False,
    }
    policy = functools.partial(ActorCritic, activation=asked["activation"])
    return make_train(config), lambda actions, params, obs: policy(actions).apply(params, obs)[0].mode()


def dqn(work):
    """The train function, and the best actions of what it has trained."""
    import dqn as original

    original.QNetwork = QNetwork
    asked, num_envs = work["settings"], work["num_envs"]
    assert (asked["num_steps"], asked["num_gradient_steps"], asked["activation"]) == (1, 1, "swish")
    assert not asked["double"], "it has no double DQN"
    config = {
        "ENV_NAME": work["env"],
        "NUM_ENVS": num_envs,
        "TOTAL_TIMESTEPS": work["total_steps"],
        "BUFFER_SIZE": asked["buffer_size"],
        "BUFFER_BATCH_SIZE": asked["batch_size"],
        "EPSILON_START": asked["epsilon_start"],
        "EPSILON_FINISH": asked["epsilon_end"],
        "EPSILON_ANNEAL_TIME": asked["exploration_fraction"] * work["total_steps"],
        "TARGET_UPDATE_INTERVAL": asked["target_period"] * num_envs,  # this and the next in env steps
        "TRAINING_INTERVAL": num_envs,
        "LEARNING_STARTS": asked["learning_starts"],
        "LR": asked["learning_rate"],
        "GAMMA": asked["gamma"],
        "TAU": asked["tau"],
    }
    return original.make_train(config), lambda actions, params, obs: QNetwork(actions).apply(params, obs).argmax(-1)


def prepare(work):
    import gymnax

    train, best = {"ppo": ppo, "dqn": dqn}[work["algo"]](work)
    compiled = jax.jit(train).lower(jax.random.PRNGKey(0)).compile()
    env, env_params = gymnax.make(work["env"])
    num_actions = env.action_space(env_params).n

    @jax.jit
    def evaluate(params, key):
        """Mean return of each env's first episode, with the best actions."""

        def step(carry, key):
            obs, state, playing, total = carry
            action = best(num_actions, params, obs.reshape(len(obs), -1))
            keys = jax.random.split(key, EPISODES)
            obs, state, reward, done, _ = jax.vmap(env.step, (0, 0, 0, None))(keys, state, action, env_params)
            return (obs, state, playing & ~done, total + reward * playing), None

        reset_key, steps_key = jax.random.split(key)
        obs, state = jax.vmap(env.reset, (0, None))(jax.random.split(reset_key, EPISODES), env_params)
        start = (obs, state, jnp.ones(EPISODES, bool), jnp.zeros(EPISODES))
        return jax.lax.scan(step, start, jax.random.split(steps_key, LIMIT))[0][3].mean()

    def score(result, seed):
        params = result["runner_state"][0].params
        return work["total_steps"], float(evaluate(params, jax.random.PRNGKey(1000 + seed)))

    return lambda seed: jax.block_until_ready(compiled(jax.random.PRNGKey(seed))), score


if __name__ == "__main__":
    serve(prepare, sys.argv[1], load)
