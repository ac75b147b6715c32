"""The worker of `speed.py` that trains with this library; `serving` says what it is sent and says."""

import sys

import jax
from serving import serve

import purejaxrl
from purejaxrl import algos


def prepare(work):
    env, env_params = purejaxrl.make(work["env"])
    learner = getattr(algos, work["algo"].upper())(**work["settings"])
    size = {"num_envs": work["num_envs"], "total_steps": work["total_steps"]}
    train = purejaxrl.make_train(env, learner, env_params=env_params, **size)
    if work["devices"] > 1:
        compiled = purejaxrl.shard(train)  # which compiles by itself
        jax.block_until_ready(compiled(jax.random.key(0)))
    else:
        compiled = jax.jit(train).lower(jax.random.key(0)).compile()

    @jax.jit
    def evaluate(state, key):
        return purejaxrl.evaluate(env, learner, state, key, 128, env_params=env_params).episode_return.mean()

    def score(result, seed):
        return train.env_steps, float(evaluate(result.state, jax.random.key(1000 + seed)))

    return lambda seed: jax.block_until_ready(compiled(jax.random.key(seed))), score


if __name__ == "__main__":
    serve(prepare, sys.argv[1])
