"""Train one of rejax's algorithms on one gymnax environment and print one line of JSON.

rejax needs gymnax < 1.0 (five values from `step`), hence a virtual environment of its own, which
`purejaxrl.bench.peers_venv` makes. With `--serve WORK` it is a worker of `purejaxrl bench speed` instead: `serving`
says what it is sent and says.

* `--settings` are by the names that this library gives them. What is left out keeps rejax's defaults, but for
  `reward_normalization_discount`, which is gamma; the line reports every value used, by rejax's names.
* All seeds train in one vmapped program; `train_seconds` is its only execution, all seeds together.
* rejax rounds up to whole evaluations of whole rollouts. Here `eval_freq` is the total: it only rounds up to whole
  rollouts. `total_timesteps`, per seed, is rejax's own counter at the end.
* Evaluation is rejax's `evaluate` (an episode ends at its first done) on fresh episodes, with keys from a branch of the
  key tree that training never sees. `sampled` is rejax's `make_act` (for Q-learning ε-greedy with ε 0.005). `greedy` is
  ours, since rejax has none: the highest Q-value, or the mode of the policy, clipped or squashed into the action space.
* gymnax 0.0.9's environments follow gymnax 1.0's to the bit, but for SpaceInvaders, which is brought to 1.0 here.
"""

import argparse
import dataclasses
import json
import math
import time
from importlib.metadata import version

import jax
import jax.numpy as jnp
from flax import linen as nn
from gymnax.environments.minatar import space_invaders
from rejax import DQN, PPO, PQN, SAC
from rejax.evaluate import evaluate
from rejax.networks import DiscretePolicy, VNetwork
from serving import serve

RENAMED = {"lam": "td_lambda", "learning_starts": "fill_buffer", "num_gradient_steps": "num_epochs", "double": "ddqn"}
RENAMED |= {"epsilon_start": "eps_start", "epsilon_end": "eps_end"}
ALGOS = {"ppo": PPO, "dqn": DQN, "pqn": PQN, "sac": SAC}
EPISODES = 128
PACKAGES = ("rejax", "gymnax", "jax", "jaxlib", "flax", "distrax", "optax")


class SpaceInvaders(space_invaders.MinSpaceInvaders):
    """As in gymnax 1.0: six aliens in each row from the start, and bullets hit where the cannon moves to."""

    def reset_env(self, key, params):
        _, state = super().reset_env(key, params)
        state = state.replace(alien_map=state.alien_map.at[:, 8].set(0))
        return self.get_obs(state), state


def step_agent(action, state, params, *, _step_agent=space_invaders.step_agent):
    moved = _step_agent(action, state, params)
    return moved.replace(terminal=jnp.logical_or(state.terminal, moved.e_bullet_map[9, moved.pos]))


space_invaders.step_agent = step_agent


class CNN(nn.Module):
    """The features that this library has for grids."""

    @nn.compact
    def __call__(self, grids):
        x = nn.relu(nn.Conv(16, (3, 3), padding="VALID")(grids.astype(jnp.float32)))
        return nn.relu(nn.Dense(128)(x.reshape(len(x), -1)))


class CNNPolicy(DiscretePolicy):
    def setup(self):
        self.features = CNN()
        self.action_logits = nn.Dense(self.action_dim)


class CNNValue(VNetwork):
    @nn.compact
    def __call__(self, obs):
        return nn.Dense(1)(CNN()(obs)).squeeze(1)


def parse_args():
    parser = argparse.ArgumentParser(description="Train one of rejax's algorithms; print one line of JSON.")
    parser.add_argument("--algo", choices=ALGOS, default="ppo")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--total-steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=1, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="BASE")
    parser.add_argument("--no-evaluation", action="store_true", help="train only")
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON")
    parser.add_argument("--serve", metavar="WORK", help="a work of `purejaxrl bench speed`, as JSON")
    return parser.parse_args()


def translated(algo, settings):
    """Settings by rejax's names and units."""
    settings = {RENAMED.get(name, name): value for name, value in settings.items()}
    if algo != "pqn":  # which has one activation only
        settings["agent_kwargs"] = {"activation": settings.pop("activation")}
    if algo == "ppo":
        normalise = settings.pop("normalise", False)
        settings |= {"normalize_observations": normalise, "normalize_rewards": normalise}
    if algo in ("dqn", "sac"):
        assert (settings.pop("num_steps"), settings["num_epochs"]) == (1, 1), "rejax moves its target once per update"
        settings["polyak"] = 1.0 - settings.pop("tau")
        settings["target_update_freq"] = settings.pop("target_period", 1) * settings["num_envs"]  # in env steps
    return settings


def make_algo(args):
    """Make the algorithm with the settings given, and no evaluation while it trains."""
    settings = translated(args.algo, args.settings)
    algo = ALGOS[args.algo].create(
        env=SpaceInvaders() if args.env == "SpaceInvaders-MinAtar" else args.env,
        total_timesteps=args.total_steps,
        eval_freq=args.total_steps,
        skip_initial_evaluation=True,
        **settings,
    )
    if "reward_normalization_discount" not in settings:
        algo = algo.replace(reward_normalization_discount=algo.gamma)
    return algo.replace(eval_callback=lambda algo, state, key: ())


def used_settings(algo):
    """Every setting of the algorithm and its networks; no bound is None, since JSON has no infinity."""
    settings = {field.name: getattr(algo, field.name) for field in dataclasses.fields(algo)}
    numbers = {name: value for name, value in settings.items() if isinstance(value, bool | int | float)}
    network = settings.get("agent") or settings["actor"]
    return {
        **{name: None if math.isinf(value) else value for name, value in numbers.items()},
        "hidden_layer_sizes": list(network.hidden_layer_sizes),
        "activation": network.activation.__name__,
    }


def make_greedy(algo, state):
    """Like rejax's `make_act`, but with the best action."""

    def best(obs):
        if isinstance(algo, DQN | PQN):
            return algo.agent.apply(state.q_ts.params, obs).argmax(-1)
        action = algo.actor.apply(state.actor_ts.params, obs, method="_action_dist").mode()
        if algo.discrete:
            return action
        if isinstance(algo, SAC):
            return algo.actor.action_loc + jnp.tanh(action) * algo.actor.action_scale
        return jnp.clip(action, algo.action_space.low, algo.action_space.high)

    def act(obs, key):
        if algo.normalize_observations:
            obs = algo.normalize_obs(state.obs_rms_state, obs)
        return jnp.squeeze(best(obs[None]))

    return act


def mean_returns(algo, state, key):
    """Mean undiscounted return of one trained seed, by the way its actions are chosen."""
    policies = {"sampled": algo.make_act(state), "greedy": make_greedy(algo, state)}
    return {name: evaluate(act, key, algo.env, algo.env_params, EPISODES)[1].mean() for name, act in policies.items()}


def prepare(work):
    """See `serving`."""
    settings = work["settings"] | {"num_envs": work["num_envs"], "max_grad_norm": 1e6}
    algo = make_algo(argparse.Namespace(**work | {"settings": settings}))
    if work["cnn"]:
        network = {"hidden_layer_sizes": (), "activation": nn.relu}
        algo = algo.replace(actor=CNNPolicy(algo.actor.action_dim, **network), critic=CNNValue(**network))
    train = jax.jit(lambda key: algo.train(key)[0]).lower(jax.random.PRNGKey(0)).compile()
    evaluate_all = jax.jit(lambda state, key: mean_returns(algo, state, key)["greedy"])

    def score(state, seed):
        steps = int(state.global_step)
        return steps, float(evaluate_all(state, jax.random.PRNGKey(1000 + seed)))

    return lambda seed: jax.block_until_ready(train(jax.random.PRNGKey(seed))), score


def timed(function, *inputs):
    """Call the function; return its finished result and the seconds it took."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*inputs))
    return result, time.perf_counter() - start


def main():
    args = parse_args()
    if args.serve:
        serve(prepare, args.serve)
        return
    algo = make_algo(args)
    train_root, eval_root = jax.random.split(jax.random.PRNGKey(args.seed))
    train_keys = jax.random.split(train_root, args.seeds)
    lowered = jax.jit(jax.vmap(lambda key: algo.train(key)[0])).lower
    train, compile_seconds = timed(lambda keys: lowered(keys).compile(), train_keys)
    state, train_seconds = timed(train, train_keys)
    evaluate_all = jax.jit(jax.vmap(lambda state, key: mean_returns(algo, state, key)))
    returns = {} if args.no_evaluation else evaluate_all(state, jax.random.split(eval_root, args.seeds))
    report = {
        "algo": args.algo,
        "env": args.env,
        "total_timesteps": int(state.global_step[0]),
        "seeds": args.seeds,
        "base_seed": args.seed,
        "eval_episodes": EPISODES,
        "final_return_per_seed": {name: value.tolist() for name, value in returns.items()},
        "train_seconds": round(train_seconds, 3),
        "compile_seconds": round(compile_seconds, 3),
        "backend": jax.default_backend(),
        "given": args.settings,
        "settings": used_settings(algo),
        "versions": {name: version(name) for name in PACKAGES},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
