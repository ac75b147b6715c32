"""The worker of `purejaxrl bench speed` that trains PPO of Stable-Baselines3 (torch) or SBX (JAX), as shipped.

Both have 64-64 networks with tanh by default. SBX has no clipped value loss. Nothing is compiled before it trains.
"""

import importlib
import sys

import gymnasium
from serving import serve
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

EPISODES = 32


def prepare(work):
    library, asked, num_envs = importlib.import_module(work["library"]), work["settings"], work["num_envs"]
    gymnasium.make(work["env"]).close()
    settings = {
        "n_steps": asked["num_steps"],
        "batch_size": asked["num_steps"] * num_envs // asked["num_minibatches"],
        "n_epochs": asked["num_epochs"],
        "learning_rate": asked["learning_rate"],
        "gamma": asked["gamma"],
        "gae_lambda": asked["gae_lambda"],
        "clip_range": asked["clip_eps"],
        "ent_coef": asked["ent_coef"],
        "vf_coef": asked["vf_coef"],
        "max_grad_norm": 1e6,
        "device": "cpu",
    }
    if work["library"] == "stable_baselines3":
        settings["clip_range_vf"] = asked["clip_eps"]

    def train(seed):
        model = library.PPO("MlpPolicy", make_vec_env(work["env"], num_envs, seed=seed), seed=seed, **settings)
        return model.learn(work["total_steps"])

    def score(model, seed):
        envs = make_vec_env(work["env"], 8, seed=seed + 10_000)
        return model.num_timesteps, float(evaluate_policy(model, envs, EPISODES)[0])

    return train, score


if __name__ == "__main__":
    serve(prepare, sys.argv[1])
