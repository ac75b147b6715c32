"""What each bonus costs: PPO's steps per second with it, relative to PPO alone, in one run.

    python benchmarks/bonus_cost.py                    # all bonuses with their defaults, on two environments
    python benchmarks/bonus_cost.py --bonus rnd e3b --env MountainCar-v0
    python benchmarks/bonus_cost.py --bonus ngu disagreement --num-epochs 1

64 environments, rollouts of 128 steps, PPO's default networks and epochs. Every program is compiled first; then they
take turns, `--rounds` times each, and the table shows the ratio of the median times of the same number of updates.
"""

import argparse
import dataclasses
import statistics
import time

import jax

import purejaxrl
from purejaxrl import bonuses, discovery
from purejaxrl.algos import PPO
from purejaxrl.bonuses import SOFE, Counts

NUM_ENVS, UPDATES = 64, 8
ENVS = {"MountainCar-v0": {}, "DeepSea-bsuite": {"size": 20}}


def bonus_of(name, num_epochs):
    if name == "none":
        return None
    if name == "sofe":
        return SOFE(bonus=Counts(episodic=True))
    bonus = discovery.load(bonuses, name)()
    return dataclasses.replace(bonus, num_epochs=num_epochs) if num_epochs and hasattr(bonus, "num_epochs") else bonus


def program(env, env_params, bonus):
    """A compiled function of a state that does UPDATES updates, and a state to begin with."""
    learner = PPO()
    total_steps = NUM_ENVS * learner.num_steps * UPDATES * 100 + NUM_ENVS * 8
    train = purejaxrl.make_train(
        env, learner, bonus=bonus, env_params=env_params, num_envs=NUM_ENVS, total_steps=total_steps
    )
    state = jax.jit(train.init)(jax.random.key(0))
    start = time.perf_counter()
    advance = jax.jit(lambda state: train.advance(state, UPDATES)).lower(state).compile()
    seconds = time.perf_counter() - start
    return advance, jax.block_until_ready(advance(state)[0]), seconds


def main():
    parser = argparse.ArgumentParser(description="Compare PPO's speed with each bonus; print a table.")
    names = ["none", *discovery.names(bonuses)]
    parser.add_argument("--bonus", nargs="+", choices=names[1:], default=names[1:])
    parser.add_argument("--env", nargs="+", choices=ENVS, default=list(ENVS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--num-epochs", type=int, help="of what bonuses learn; their defaults unless given")
    args = parser.parse_args()
    print("| environment | bonus | steps/s | time relative to none | compile s |\n|---|---|---|---|---|", flush=True)
    for env_id in args.env:
        env, env_params = purejaxrl.make(env_id, **ENVS[env_id])
        programs = {name: program(env, env_params, bonus_of(name, args.num_epochs)) for name in ["none", *args.bonus]}
        times = {name: [] for name in programs}
        for _ in range(args.rounds):
            for name, (advance, state, _) in programs.items():
                start = time.perf_counter()
                jax.block_until_ready(advance(state))
                times[name].append(time.perf_counter() - start)
        alone = statistics.median(times["none"])
        for name, (*_, seconds) in programs.items():
            median = statistics.median(times[name])
            speed = NUM_ENVS * PPO().num_steps * UPDATES / median
            print(f"| {env_id} | {name} | {speed:,.0f} | {median / alone:.2f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
