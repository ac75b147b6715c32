"""Train rejax's PPO on one gymnax environment and print one line of JSON.

rejax needs gymnax < 1.0 (five values from `step`), hence a virtual environment of its own:

    python3.11 -m venv .venv-rejax
    .venv-rejax/bin/pip install rejax==0.1.3 gymnax==0.0.9 jax==0.10.2 flax==0.12.8 distrax==0.1.9
    .venv-rejax/bin/python benchmarks/rejax_ppo.py --env CartPole-v1 --seeds 2

* Flags that are left out keep rejax's own defaults; the line reports every value used.
* All seeds train in one vmapped program; `train_seconds` is its only execution, all seeds
  together. rejax initialises with flax's defaults, not orthogonally: no batched QR to hang.
* rejax rounds up to whole evaluations of whole rollouts. Here `eval_freq` is the total: it only
  rounds up to whole rollouts. `total_timesteps`, per seed, is rejax's own counter at the end.
* Evaluation is rejax's `evaluate` (an episode ends at its first done), with keys from a branch
  of the key tree that training never sees. `sampled` is rejax's `make_act`. rejax has no greedy
  PPO: `greedy`, the mode of its action distribution, clipped to the action space, is ours.
* `--normalize-rewards` discounts with gamma. `--max-grad-norm` is, in rejax, a bound on each
  gradient entry (`optax.clip`), not on the global norm.
"""

import argparse
import json
import math
import time
from importlib.metadata import version

import jax
import jax.numpy as jnp
from rejax import PPO
from rejax.evaluate import evaluate

EPISODES = 128
KINDS = dict.fromkeys(("num_envs", "num_steps", "num_epochs", "num_minibatches"), int)
KINDS |= dict.fromkeys(("learning_rate", "gamma", "gae_lambda", "clip_eps"), float)
KINDS |= dict.fromkeys(("ent_coef", "vf_coef", "max_grad_norm"), float)
SWITCHES = ("normalize_observations", "normalize_rewards")
PACKAGES = ("rejax", "gymnax", "jax", "jaxlib", "flax", "distrax", "optax")


def parse_args():
    """Read the command line; rejax's own settings stay None where they are not given."""
    parser = argparse.ArgumentParser(description="Train rejax's PPO; print one line of JSON.")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--total-steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=1, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="BASE")
    for name, kind in KINDS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    for name in SWITCHES:
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
    return parser.parse_args()


def make_algo(args):
    """Make rejax's PPO with the settings given, and no evaluation while it trains."""
    given = {name: getattr(args, name) for name in (*KINDS, *SWITCHES)}
    algo = PPO.create(
        env=args.env,
        total_timesteps=args.total_steps,
        eval_freq=args.total_steps,
        skip_initial_evaluation=True,
        **{name: value for name, value in given.items() if value is not None},
    )
    return algo.replace(eval_callback=lambda algo, state, key: (), reward_normalization_discount=algo.gamma)


def make_greedy(algo, state):
    """Like rejax's `make_act`, but with the most likely action."""

    def act(obs, key):
        if algo.normalize_observations:
            obs = algo.normalize_obs(state.obs_rms_state, obs)
        dist = algo.actor.apply(state.actor_ts.params, obs[None], method="_action_dist")
        action = jnp.squeeze(dist.mode())
        space = algo.action_space
        return action if algo.discrete else jnp.clip(action, space.low, space.high)

    return act


def mean_returns(algo, state, key):
    """Mean undiscounted return of one trained seed, by the way its actions are chosen."""
    policies = {"sampled": algo.make_act(state), "greedy": make_greedy(algo, state)}
    return {name: evaluate(act, key, algo.env, algo.env_params, EPISODES)[1].mean() for name, act in policies.items()}


def timed(function, *inputs):
    """Call the function; return its finished result and the seconds it took."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*inputs))
    return result, time.perf_counter() - start


def main():
    args = parse_args()
    algo = make_algo(args)
    train_root, eval_root = jax.random.split(jax.random.PRNGKey(args.seed))
    train_keys = jax.random.split(train_root, args.seeds)
    lowered = jax.jit(jax.vmap(lambda key: algo.train(key)[0])).lower
    train, compile_seconds = timed(lambda keys: lowered(keys).compile(), train_keys)
    state, train_seconds = timed(train, train_keys)
    evaluate_all = jax.jit(jax.vmap(lambda state, key: mean_returns(algo, state, key)))
    returns = evaluate_all(state, jax.random.split(eval_root, args.seeds))
    settings = {name: getattr(algo, name) for name in (*KINDS, *SWITCHES)}
    if math.isinf(algo.max_grad_norm):  # rejax's default, no clipping; JSON has no infinity
        settings["max_grad_norm"] = None
    report = {
        "env": args.env,
        "num_envs": algo.num_envs,
        "total_timesteps": int(state.global_step[0]),
        "seeds": args.seeds,
        "base_seed": args.seed,
        "eval_episodes": EPISODES,
        "final_return_per_seed": {name: value.tolist() for name, value in returns.items()},
        "train_seconds": round(train_seconds, 3),
        "compile_seconds": round(compile_seconds, 3),
        "backend": jax.default_backend(),
        "settings": settings,
        "versions": {name: version(name) for name in PACKAGES},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
