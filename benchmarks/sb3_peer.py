"""Train sb3-contrib's RecurrentPPO on a CartPole without velocities and print one line of JSON per seed.

The peer of `memory.py`'s GRU row, where rejax has no recurrent PPO. It needs a virtual environment of its own:

    python3.11 -m venv .venv-sb3
    .venv-sb3/bin/pip install torch==2.13.0 stable-baselines3==2.9.2 sb3-contrib==2.9.2
    .venv-sb3/bin/python benchmarks/sb3_peer.py --seeds 5

The same task (gymnasium's CartPole-v1 whose policy sees position and angle alone), steps, batches, epochs, rates,
clipping and standardised observations and rewards. Not equal: SB3's memory is an LSTM for the policy and another for
the critic, before the 64-64 networks, and it initialises otherwise. A score is the mean return of 128 fresh episodes
with sampled actions. One seed takes some minutes; it uses one thread, so that seeds may run beside each other.
"""

import argparse
import json
import time

import gymnasium
import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

NUM_ENVS, NUM_STEPS, NUM_MINIBATCHES, EPISODES = 16, 64, 8, 128


class PositionOnly(gymnasium.ObservationWrapper):
    def __init__(self, env):
        super().__init__(env)
        space = env.observation_space
        self.observation_space = gymnasium.spaces.Box(space.low[[0, 2]], space.high[[0, 2]], dtype=np.float32)

    def observation(self, observation):
        return observation[[0, 2]]


def make_envs(count):
    return DummyVecEnv([lambda: PositionOnly(gymnasium.make("CartPole-v1"))] * count)


def evaluate(model, normaliser, seed):
    """Mean return of the first episode of each of EPISODES envs."""
    envs = make_envs(EPISODES)
    envs.seed(seed)
    obs, state, first = envs.reset(), None, np.ones(EPISODES, bool)
    returns, playing = np.zeros(EPISODES), np.ones(EPISODES, bool)
    while playing.any():
        action, state = model.predict(normaliser.normalize_obs(obs), state=state, episode_start=first)
        obs, reward, first, _ = envs.step(action)
        returns += reward * playing
        playing &= ~first
    return float(returns.mean())


def train(seed, total_steps):
    torch.manual_seed(seed)
    envs = VecNormalize(make_envs(NUM_ENVS), gamma=0.99)
    model = RecurrentPPO(
        "MlpLstmPolicy",
        envs,
        n_steps=NUM_STEPS,
        batch_size=NUM_ENVS * NUM_STEPS // NUM_MINIBATCHES,
        n_epochs=4,
        learning_rate=lambda left: 2e-3 * left,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=0.01,
        vf_coef=0.5,
        max_grad_norm=0.5,
        policy_kwargs={"lstm_hidden_size": 64, "net_arch": [64, 64]},
        seed=seed,
        device="cpu",
    )
    start = time.perf_counter()
    model.learn(total_steps)
    seconds = time.perf_counter() - start
    return {
        "seed": seed,
        "steps": model.num_timesteps,
        "score": evaluate(model, envs, seed + 10_000),
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description="Train RecurrentPPO; print a line of JSON per seed.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--total-steps", type=int, default=500_000 // 1024 * 1024)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(args.seed, args.seed + args.seeds):
        print(json.dumps(train(seed, args.total_steps)), flush=True)


if __name__ == "__main__":
    main()
