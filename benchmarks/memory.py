"""PPO with and without memory, where the observation does not tell everything.

    python benchmarks/memory.py                       # about half an hour on 2 cores
    python benchmarks/memory.py --env MemoryChain-bsuite --seeds 5

PositionOnlyCartPole hides the velocities, so that frame stacking helps as memory does; MemoryChain (bsuite; Osband et
al. 2020) shows a bit once and asks for it `memory_length` steps later, when four frames no longer hold it. The rows
differ in nothing but memory and frame stacking; the settings were chosen on base seed 1000. Each seed's score is the
mean return of 128 fresh episodes with sampled actions; the table has the interquartile mean over seeds with its 95 %
bootstrap interval.
"""

import argparse

from learning import COLUMNS, Task, ours, row

PPO = {"num_envs": 16, "num_steps": 64, "num_epochs": 4, "num_minibatches": 8, "learning_rate": 2e-3, "gamma": 0.99}
PPO |= {"gae_lambda": 0.95, "clip_eps": 0.2, "ent_coef": 0.01, "vf_coef": 0.5, "activation": "tanh"}
PPO |= {"max_grad_norm": 0.5, "anneal_lr": True, "clip_value": False}
TASKS = {  # environment: its settings, the steps, more of PPO's settings
    # A velocity is a small difference of small numbers, which the transformer's normalisation of single steps hides
    # unless they are standardised before.
    "PositionOnlyCartPole-v1": ({}, 500_000, {"normalise": True}),
    "MemoryChain-bsuite": ({"memory_length": 10}, 300_000, {}),
}
VARIANTS = {
    "none": ({}, {}),
    "4 frames": ({}, {"frame_stack": 4}),
    "GRU": ({"memory": "gru", "memory_size": 64}, {}),
    "transformer": ({"memory": "transformer", "memory_size": 32, "memory_window": 16}, {}),
}


def main():
    parser = argparse.ArgumentParser(description="Compare PPO with and without memory; print a table.")
    parser.add_argument("--env", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--memory", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, metavar="BASE", help="where all keys come from")
    args = parser.parse_args()
    columns = COLUMNS.replace("library", "memory")
    print(f"| {columns} |\n| {' | '.join('---' for _ in columns.split('|'))} |", flush=True)
    for env in args.env:
        env_settings, steps, ppo = TASKS[env]
        for name in args.memory:
            settings, more = VARIANTS[name]
            task = Task("ppo", env, steps, PPO | ppo | settings, args.seeds, env_settings=env_settings | more)
            print(f"| {row(task, name, ours(task, args.seeds, args.seed))} |", flush=True)


if __name__ == "__main__":
    main()
