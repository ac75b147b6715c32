"""What every learner must do, for all that the package holds and with any bonus."""

import functools

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest

import purejaxrl
from purejaxrl import algos, discovery
from purejaxrl.algos import DQN, PPO, PQN
from purejaxrl.bonuses import RND
from purejaxrl.types import SettingError

NAMES = sorted({*learners.VARIANTS, *discovery.names(algos)})
BONUSES = {"none": None, "rnd": RND(warmup_steps=8)}
# What takes long with every one, and stands in tests/test_resume.py for every algorithm as well.
FEW = {"ppo", "ppo-gru", "dqn", "pqn"}
few_learners = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in NAMES]
)
# Every algorithm with a bonus, and its variants without: compiling is what takes the time.
PAIRS = [(name, "rnd" if name in discovery.names(algos) else "none") for name in NAMES]


class ContinuousClock(probes.Clock):
    def action_space(self, params=None):
        return probes.spaces.Box(-1.0, 1.0, (2,))

    def reward(self, state, action):
        return action.sum()

    action_mask = None

    def __getattribute__(self, name):
        if name == "action_mask":
            raise AttributeError(name)
        return super().__getattribute__(name)


def environment(name):
    """Three steps long, with an action mask where actions are discrete."""
    return ContinuousClock() if learners.is_continuous(name) else probes.Clock()


@pytest.mark.parametrize(("name", "bonus"), PAIRS)
def test_trains_vmapped_over_seeds_and_learning_rates(name, bonus):
    """One program without LAPACK; every lane is its own run, and both axes matter."""

    def run(learning_rate, key):
        learner = learners.make(name, learning_rate=learning_rate)
        steps = 8 + 4 * 8 * 6
        return learners.bind(environment(name), learner, bonus=BONUSES[bonus], total_steps=steps)(key)

    rates, keys = jnp.array([1e-4, 1e-2]), jax.random.split(jax.random.key(0), 2)
    program = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None))).lower(rates, keys)
    assert not learners.lapack_calls(program)
    result = program.compile()(rates, keys)
    assert (result.metrics["episode_length"][..., -1] == 3).all()
    for metric, values in result.metrics.items():
        assert values.shape[:2] == (2, 2), metric
        assert np.isfinite(values).all() or metric.startswith(("episode", "first_reward")), metric
    assert (result.metrics["bonus_mean"] > 0).any() == (bonus != "none")
    learned = [x.reshape(4, -1) for x in jax.tree.leaves(result.state.learner) if x.dtype == jnp.float32 and x.ndim > 3]
    assert len(np.unique(np.concatenate(learned, axis=1), axis=0)) == 4, "all lanes differ"
    if environment(name).__class__ is probes.Clock:
        assert result.metrics["episode_return"].max() <= 3, "the forbidden action 2 pays 2 a step"


def test_lapack_would_be_found():
    draw = jax.vmap(lambda key: jax.nn.initializers.orthogonal()(key, (8, 8)))
    assert learners.lapack_calls(jax.jit(draw).lower(jax.random.split(jax.random.key(0), 2)))


@pytest.mark.fully_optimised
@few_learners
def test_pieces_are_the_run_bit_for_bit(name):
    train = learners.bind(environment(name), learners.make(name), bonus=BONUSES["rnd"], total_steps=8 + 4 * 8 * 8)
    advance = jax.jit(train.advance, static_argnums=1)
    start = jax.jit(train.init)(jax.random.key(1))
    pieces = start
    for _ in range(4):
        pieces, _ = advance(pieces, 1)
    chunk, _ = advance(start, 4)
    for x, y in zip(jax.tree.leaves(pieces.learner), jax.tree.leaves(chunk.learner), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "ppo-transformer" else ()) for name in NAMES]
)
def test_values_at_the_three_ways_an_episode_ends(name):
    """Time limits bootstrap from the true final observation, terminations do not and win; see the probe's values.

    A truncation taken for an end gives at most 7/4 for the last state, a missed end about 2 for the others, and a
    bootstrap from the observation after the reset a mixture.
    """
    env = probes.ContinuousEndings() if learners.is_continuous(name) else probes.Endings()
    settings = {"gamma": 0.5, "learning_rate": 3e-3, "hidden": (32, 32)[: len(learners.make(name).hidden)]}
    if "noisy" in name or "rainbow" in name:
        settings |= {"v_min": 0.0, "v_max": 4.0, "num_atoms": 21}
    if learners.is_continuous(name):
        settings |= {"auto_alpha": False, "alpha": 1e-4, "tau": 0.05}
    learner = learners.make(name, **settings)
    total_steps = 20_000 if hasattr(learner, "buffer_size") else 60_000
    state = learners.learn(env, learner, total_steps=total_steps, num_envs=8)
    shown = np.eye(7, dtype=np.float32)
    found = np.concatenate([learners.values(learner, state, shown[part]) for part in ([0, 1, 2], [3, 4, 5], [6, 6, 6])])
    np.testing.assert_allclose(found, [*env.values, env.values[-1], env.values[-1]], atol=0.12)


@few_learners
def test_evaluates_greedily_and_sampled(name):
    env, learner = environment(name), learners.make(name)
    train = learners.bind(env, learner, total_steps=4 * 8 * 2)
    state = jax.jit(train)(jax.random.key(0)).state

    @functools.partial(jax.jit, static_argnums=0)
    def evaluate(greedy, key):
        return purejaxrl.evaluate(env, learner, state, key, 5, greedy=greedy, max_steps=9)

    def play(greedy, seed):
        found = evaluate(greedy, jax.random.key(seed))
        assert found.finished.all()
        assert (found.episode_length == 3).all()
        return np.asarray(found.episode_return)

    np.testing.assert_array_equal(play(True, 0), play(True, 1), err_msg="the env is deterministic, so greedy play is")
    assert len(np.unique(np.concatenate([play(False, seed) for seed in range(4)]))) > 1


@pytest.mark.parametrize(
    ("name", "env", "settings", "message"),
    [
        ("dqn", probes.Target(), {}, r"algo: DQN acts in Discrete spaces, the environment's is Box"),
        ("pqn", probes.Target(), {}, r"algo: PQN acts in Discrete spaces, the environment's is Box"),
        ("sac", probes.Clock(), {}, r"algo: SAC acts in Box spaces, the environment's is Discrete"),
        ("dqn", probes.MultiTarget(), {}, r"algo: DQN acts in Discrete spaces, the environment's is MultiDiscrete"),
        ("dqn", probes.Clock(), {"buffer_size": 10}, r"algo.buffer_size must be at least batch_size = 16, got 10"),
        ("sac", probes.Target(), {"buffer_size": 10}, r"algo.buffer_size must be at least batch_size = 16, got 10"),
        ("dqn", probes.Clock(), {"buffer_size": 3, "batch_size": 1}, r"algo.buffer_size must be at least num_envs = 4"),
        ("dqn", probes.Clock(), {"n_step": 80}, r"algo.buffer_size must be at least num_envs \* \(n_step \+ 1\) = 324"),
        ("dqn", probes.Clock(), {"num_steps": 40}, r"algo.buffer_size must be at least num_envs \* \(2 \* num_steps"),
        ("dqn", probes.Clock(), {"num_atoms": 1, "head": "c51"}, r"algo.num_atoms must be >= 2, got 1"),
        ("dqn", probes.Clock(), {"head": "c51", "v_min": 1.0, "v_max": 1.0}, r"algo.v_min must be below algo.v_max"),
        ("dqn", probes.Clock(), {"head": "c5"}, r"algo.head: unknown value 'c5'; did you mean c51"),
        ("dqn", probes.Clock(), {"zeta": 0.5}, r"algo.zeta must be above 1"),
        ("dqn", probes.Clock(), {"n_step": 0}, r"algo.n_step must be >= 1, got 0"),
        ("dqn", probes.Clock(), {"epsilon_end": 1.5}, r"algo.epsilon_end must be finite and >= 0 and <= 1"),
        ("dqn", probes.Clock(), {"network": 3}, r"algo.network must be \(init, apply\) or a flax module, got 3"),
        ("pqn", probes.Clock(), {"lam": -0.1}, r"algo.lam must be finite and >= 0"),
        (
            "pqn-gru",
            probes.Clock(),
            {"num_minibatches": 5},
            r"algo.num_minibatches must be at most num_envs \(a memory",
        ),
        (
            "ppo-gru",
            probes.Clock(),
            {"num_minibatches": 5},
            r"algo.num_minibatches must be at most num_envs \(a memory",
        ),
        ("ppo-transformer", probes.Clock(), {"memory_size": 6}, r"algo.memory_size must be a multiple of its 4 heads"),
        ("ppo", probes.Clock(), {"memory": "lstm"}, r"algo.memory: unknown value 'lstm'"),
    ],
)
def test_bad_input_is_refused_by_name(name, env, settings, message):
    with pytest.raises(SettingError, match=message):
        learners.bind(env, learners.make(name, **settings))


def test_sac_needs_finite_bounds():
    class Unbounded(probes.Target):
        def action_space(self, params=None):
            return probes.spaces.Box(-jnp.inf, jnp.inf, (1,))

    with pytest.raises(SettingError, match=r"SAC needs finite bounds of actions, low below high"):
        learners.bind(Unbounded(), learners.make("sac"))


def test_traced_bounds_of_atoms_pass():
    def run(v_max, key):
        learner = learners.make("dqn", head="c51", v_max=v_max)
        return learners.bind(probes.Clock(), learner, total_steps=64)(key).metrics["q_loss"]

    assert jax.jit(run)(5.0, jax.random.key(0)).shape == (4,)


@pytest.mark.parametrize("cls", [PPO, PQN, DQN])
def test_the_learning_rate_anneals_to_zero_over_the_whole_run(cls):
    more = {"learning_starts": 0, "batch_size": 64} if cls is DQN else {}
    num_updates = 100 if cls is PQN else 50  # RAdam's first steps are small beside those of the same rate later

    def steps(**options):
        learner = cls(num_steps=16, hidden=(8,), **more, **options)
        train = purejaxrl.make_train(probes.RewardFromObs(), learner, num_envs=4, total_steps=64 * num_updates)
        state, sizes = jax.jit(train.init)(jax.random.key(0)), []
        advance = jax.jit(train.advance, static_argnums=1)
        for _ in range(num_updates):
            before = state.learner.params
            state, _ = advance(state, 1)
            moved = jax.tree.map(lambda x, y: jnp.abs(x - y).max(), before, state.learner.params)
            sizes.append(max(float(leaf) for leaf in jax.tree.leaves(moved)))
        return np.asarray(sizes)

    annealed, constant = steps(), steps(anneal_lr=False)
    np.testing.assert_allclose(annealed[0], constant[0], rtol=1e-5)
    assert annealed[-1] < 0.1 * annealed[:5].mean()  # the last update's rate is 1/num_updates of the first's
    assert constant[-1] > 0.2 * constant[:5].mean()
