"""The worker of `purejaxrl bench speed` that trains with this library; `serving` says what it is sent and says."""

import sys

import flax.linen as nn
import jax
from serving import serve

import purejaxrl
from purejaxrl import algos, envs, networks
from purejaxrl.distributions import Categorical

OFF = {"anneal_lr": False, "max_grad_norm": 1e6}  # what rejax has not, or does otherwise


class TwoCNNs(nn.Module):
    """Actor and critic with a CNN each, as the peers have them; here they share one otherwise."""

    num_actions: int

    @nn.compact
    def __call__(self, obs):
        logits, value = (
            networks.Dense(size, scale)(networks.CNN()(obs)) for size, scale in ((self.num_actions, 0.01), (1, 1.0))
        )
        return Categorical(logits), value


def prepare(work):
    env, env_params = envs.make(work["env"])
    settings = OFF | work["settings"] | ({"clip_value": True} if work["algo"] == "ppo" else {})
    if work["cnn"]:
        settings |= {"network": TwoCNNs(int(env.action_space(env_params).n))}
        del settings["activation"]
    learner = getattr(algos, work["algo"].upper())(**settings)
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
