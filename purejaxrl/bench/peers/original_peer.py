"""The worker of `purejaxrl bench speed` that trains PureJaxRL's PPO, from a checkout of its repository.

Its settings are those of the work; what the work turns off, gradient clipping and annealing, is off here as well.
"""

import importlib
import pathlib
import sys
import unittest.mock

import jax
import jax.numpy as jnp
from serving import serve

EPISODES, LIMIT = 128, 500


def load(work):
    sys.path.insert(0, str(pathlib.Path(work["checkout"]) / "purejaxrl"))
    for name in ("navix", "brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training"):
        sys.modules[name] = unittest.mock.MagicMock()  # which it imports for environments that are not used here
    importlib.import_module("ppo")


def prepare(work):
    import gymnax
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
    train = make_train(config)
    compiled = jax.jit(train).lower(jax.random.PRNGKey(0)).compile()
    env, env_params = gymnax.make(work["env"])
    network = ActorCritic(env.action_space(env_params).n, activation=asked["activation"])

    @jax.jit
    def evaluate(params, key):
        """Mean return of each env's first episode, with the best actions."""

        def step(carry, key):
            obs, state, playing, total = carry
            action = network.apply(params, obs.reshape(len(obs), -1))[0].mode()
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
