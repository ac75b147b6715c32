"""The loop's contracts, with a learner (carry and member index per env) and a bonus (episodic memory) of their own."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from flax import struct

import purejaxrl
from purejaxrl import types
from purejaxrl.algos import PPO
from purejaxrl.bonuses import RND, Counts
from purejaxrl.types import SettingError, number, static


@struct.dataclass
class Ensemble:
    """K linear policies; each env follows one member per episode and carries a trace of what it saw."""

    learning_rate: float = number(0.1, gt=0)
    num_steps: int = static(6, ge=1)
    members: int = static(3, ge=1)

    def init(self, key, spec):
        size = spec.example_obs().size
        return {"w": jax.random.normal(key, (self.members, size, spec.action_space.n)), "seen": jnp.zeros(())}

    def init_actor(self, key, spec):
        member = jax.random.randint(key, (spec.num_envs,), 0, self.members)
        return {"carry": jnp.zeros((spec.num_envs, 2)), "member": member}

    def act(self, state, actor, key, obs, first, mask, *, greedy=False):
        member_key, action_key = jax.random.split(key)
        obs = obs.reshape(obs.shape[0], -1)
        fresh = jax.random.randint(member_key, first.shape, 0, self.members)
        member = jnp.where(first, fresh, actor["member"])
        carry = jnp.where(first[:, None], 0.0, actor["carry"]) + obs[:, :1]
        logits = jnp.einsum("ed,eda->ea", obs, state["w"][member])
        logits = logits if mask is None else jnp.where(mask, logits, -jnp.inf)
        action = logits.argmax(-1) if greedy else jax.random.categorical(action_key, logits)
        return {"carry": carry, "member": member}, action, {"carry": carry, "member": member}

    def update(self, state, key, batch, actor0, reward_fn):
        replayed = reward_fn(batch, batch.memo)
        advantage = batch.reward + (0.0 if batch.bonus is None else batch.bonus)
        scale = 1.0 + self.learning_rate * advantage.mean() + 0.01 * jax.random.normal(key)
        differs = jnp.zeros(()) if batch.bonus is None else jnp.abs(replayed - batch.bonus).max()
        return (
            {"w": state["w"] * scale, "seen": state["seen"] + batch.reward.size},
            {
                "replay_difference": differs,
                "carry_start": actor0["carry"].mean(),
                "carry_mean": batch.extras["carry"].mean(),
            },
        )


@struct.dataclass
class EpisodicSteps:
    """1/√(steps since the episode began), times a lifelong scale that halves at each update."""

    coef: float = number(1.0, ge=0)
    normalise: str = static("std", choices=types.NORMALISERS)
    warmup_steps: int = static(0, ge=0)

    def init(self, key, spec):
        return {"steps": jnp.zeros(spec.num_envs), "scale": jnp.ones(()), "warm": jnp.zeros(())}

    def observe(self, state, transition):
        steps = state["steps"] + 1
        done = transition.terminated | transition.truncated
        return {**state, "steps": jnp.where(done, 0.0, steps)}, steps

    def reward(self, state, transition, memo):
        return state["scale"] / jnp.sqrt(memo)

    def update(self, state, key, batch):
        if batch.bonus is None:
            return {**state, "warm": jnp.asarray(batch.reward.size, jnp.float32)}, {}
        return {**state, "scale": state["scale"] / 2}, {"memo_max": batch.memo.max()}


def make(env=None, learner=None, **kwargs):
    env = probes.Discounting() if env is None else env
    learner = PPO(num_steps=8, hidden=(8,), num_minibatches=2, num_epochs=2) if learner is None else learner
    kwargs = {"num_envs": 4, "total_steps": 4 * learner.num_steps * 5} | kwargs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return purejaxrl.make_train(env, learner, **kwargs)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


@struct.dataclass
class Recorder(Ensemble):
    """Hands every batch out as a metric, so that tests can look at what the loop built."""

    def update(self, state, key, batch, actor0, reward_fn):
        state, metrics = super().update(state, key, batch, actor0, reward_fn)
        return state, {**metrics, "batch": batch.replace(extras=None)}


def rollout(env, **kwargs):
    """All transitions of a run, ``[num_updates * num_steps, num_envs]``."""
    train = make(env, Recorder(), **kwargs)
    _, metrics = jax.jit(train)(jax.random.key(0))
    return train, jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), metrics["batch"])


# --- transitions ------------------------------------------------------------------------------------------------


def test_next_obs_is_from_before_the_reset():
    """Clock's x counts the steps of an episode of 3: the last next_obs is 3, which no reset observation is."""
    _, batch = rollout(probes.Clock())
    np.testing.assert_array_equal(batch.next_obs, batch.obs + 1)
    np.testing.assert_array_equal(batch.terminated, batch.next_obs[..., 0] == 3)
    np.testing.assert_array_equal(batch.first, batch.obs[..., 0] == 0)
    np.testing.assert_array_equal(batch.first[1:], batch.terminated[:-1])
    assert not batch.truncated.any()
    assert batch.cell is None


def test_time_limit_is_truncation():
    _, batch = rollout(probes.TimeLimited())
    assert not batch.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(batch.truncated[:, 0]), np.arange(4, len(batch.truncated), 5))


def test_masks_reach_the_learner():
    _, batch = rollout(probes.Clock())
    assert batch.mask.shape == batch.next_mask.shape == (*batch.reward.shape, 3)
    assert (batch.mask == [True, True, False]).all()
    assert set(np.unique(batch.action)) == {0, 1}


def test_episode_metrics_count_whole_episodes():
    _, batch = rollout(probes.Clock())
    _, metrics = jax.jit(make(probes.Clock(), Ensemble()))(jax.random.key(0))
    returns, ends = np.cumsum(batch.reward, 0), batch.terminated
    for update in range(5):
        rows = slice(6 * update, 6 * (update + 1))
        expected = []
        for env in range(4):
            stops = np.flatnonzero(ends[:, env])
            totals = np.diff(returns[stops, env], prepend=0)
            expected += [total for total, stop in zip(totals, stops, strict=True) if rows.start <= stop < rows.stop]
        assert metrics["num_episodes"][update] == len(expected)
        np.testing.assert_allclose(metrics["episode_return"][update], np.mean(expected), rtol=1e-5)
        np.testing.assert_allclose(metrics["episode_return_max"][update], np.max(expected), rtol=1e-5)
        assert metrics["episode_length"][update] == 3


def test_no_episode_gives_nan():
    _, metrics = jax.jit(make(probes.Probe()))(jax.random.key(0))
    assert metrics["num_episodes"].sum() == 0
    assert np.isnan(metrics["episode_return"]).all()
    assert np.isnan(metrics["episode_return_max"]).all()


def test_box_actions_are_clipped_for_the_environment_only():
    @struct.dataclass
    class Wild(Ensemble):
        def act(self, state, actor, key, obs, first, mask, *, greedy=False):
            return actor, jnp.full((obs.shape[0], 1), 7.0), {"carry": actor["carry"]}

        def init(self, key, spec):
            return {"w": jnp.zeros(1), "seen": jnp.zeros(())}

        def update(self, state, key, batch, actor0, reward_fn):
            return state, {"action": batch.action, "reward": batch.reward, "obs": batch.obs}

    _, metrics = jax.jit(make(probes.Target(), Wild()))(jax.random.key(0))
    assert (metrics["action"] == 7.0).all()
    np.testing.assert_allclose(metrics["reward"], -np.square(1.0 - 0.5 * metrics["obs"][..., 0]), rtol=1e-5)


# --- a learner and a bonus of one's own -------------------------------------------------------------------------


def test_own_learner_and_bonus_over_learning_rate_and_coefficient():
    def run(learning_rate, coef, key):
        return make(probes.Clock(), Ensemble(learning_rate=learning_rate), bonus=EpisodicSteps(coef=coef))(key)

    rates, coefs = jnp.array([0.1, 0.1, 0.5, 0.5]), jnp.array([0.0, 2.0, 0.0, 2.0])
    result = jax.jit(jax.vmap(run, (0, 0, None)))(rates, coefs, jax.random.key(0))
    metrics = result.metrics
    np.testing.assert_array_equal(metrics["replay_difference"], 0.0)  # reward_fn: normaliser and coef included
    assert (metrics["bonus_mean"][coefs == 0] == 0).all()
    assert (metrics["bonus_mean"][coefs == 2] > 0).all()
    assert (metrics["memo_max"] == 3).all(), "episodic memory resets with its own env"
    np.testing.assert_allclose(metrics["bonus_raw_mean"][:, 1:] / metrics["bonus_raw_mean"][:, :-1], 0.5, atol=0.05)
    weights = result.state.learner["w"]
    assert len({float(weight.sum()) for weight in weights}) == 4, "each lane has its own numbers"
    # carries follow their own env and start anew with each episode: x is 0, 1, 2, so their sums are 0, 1, 3
    np.testing.assert_allclose(metrics["carry_mean"], 4 / 3, rtol=1e-5)
    assert result.state.actor["member"].shape == (4, 4)


@pytest.mark.parametrize("normalise", types.NORMALISERS)
def test_bonus_is_scaled_as_numpy_scales_it(normalise):
    train = make(
        probes.Clock(), Ensemble(), bonus=EpisodicSteps(coef=3.0, normalise=normalise), num_envs=5, total_steps=90
    )
    state, got = train.init(jax.random.key(0)), []
    for _ in range(3):
        state, metrics = train.advance(state, 1)
        got.append((float(metrics["bonus_mean"][0]), float(metrics["bonus_raw_mean"][0])))
    steps = np.tile([1, 2, 3], 6).reshape(3, 6)  # the same in every env
    samples, running = [], 0.0
    for update in range(3):
        raw = 0.5**update / np.sqrt(steps[update])
        for value in raw:
            running = 0.99 * running + value
            samples += [running if normalise == "return_std" else value] * 5
        scale = 1.0 if normalise == "none" else np.std(samples)
        np.testing.assert_allclose(got[update], (3.0 * raw.mean() / scale, raw.mean()), rtol=1e-4)


def test_features_are_appended_for_the_learner_only():
    @struct.dataclass
    class Featuring(EpisodicSteps):
        def features(self, state, obs):
            assert obs.shape == (4, 1)
            return jnp.stack([state["steps"], state["scale"] * jnp.ones(4)], -1)

        def reward(self, state, transition, memo):
            assert transition.obs.shape == transition.next_obs.shape == (*transition.reward.shape, 1)
            return 1.0 / jnp.sqrt(memo)

    @struct.dataclass
    class Looking(Ensemble):
        def init(self, key, spec):
            assert spec.num_features == 2
            assert spec.example_obs().features.shape == (2,)
            return {"w": jax.random.normal(key, (self.members, 1, spec.action_space.n)), "seen": jnp.zeros(())}

        def act(self, state, actor, key, obs, *rest, greedy=False):
            return super().act(state, actor, key, obs.obs, *rest, greedy=greedy)

        def update(self, state, key, batch, actor0, reward_fn):
            _, metrics = super().update(state, key, batch, actor0, reward_fn)
            return state, {**metrics, "steps": batch.obs.features[..., 0], "next": batch.next_obs.features[..., 0]}

    _, metrics = jax.jit(make(probes.Clock(), Looking(), bonus=Featuring()))(jax.random.key(0))
    steps = np.asarray(metrics["steps"]).reshape(-1, 4)
    np.testing.assert_array_equal(steps, np.tile([0, 1, 2], 10)[:, None] * np.ones(4))
    ahead = np.asarray(metrics["next"]).reshape(-1, 4)  # an episode's last next_obs still has its own features
    np.testing.assert_array_equal(ahead, steps + 1)
    np.testing.assert_array_equal(metrics["replay_difference"], 0.0)
    result = jax.jit(make(probes.Clock(), bonus=Featuring()))(jax.random.key(0))  # and a real learner takes them
    assert np.isfinite(result.metrics["policy_loss"]).all()


def test_resets_of_ones_own_see_every_step():
    @struct.dataclass
    class FromTwo:
        """Starts every episode at time 2, one step before Clock's end, and counts what it sees."""

        env: Any = struct.field(pytree_node=False)

        def init(self, key, spec, start):
            return jnp.zeros((), jnp.int32)

        def observe(self, state, env_state, transition):
            assert env_state.time.shape == transition.reward.shape
            return state + env_state.time.size

        def reset(self, state, key, done, start, current):
            env_state = probes.State(jnp.full(done.shape, 2, jnp.int32), jnp.full(done.shape, 2.0))
            choose = jax.vmap(lambda done, new, old: jax.tree.map(lambda x, y: jnp.where(done, x, y), new, old))
            return state, choose(done, (jax.vmap(self.env.obs)(env_state), env_state), current)

    env = probes.Clock()
    result = jax.jit(make(env, resets=FromTwo(env)))(jax.random.key(0))
    assert (result.metrics["episode_length"] == 1).all()
    assert result.state.resets == 4 * 8 * 5


# --- contracts --------------------------------------------------------------------------------------------------

COMPONENTS = {
    "ppo_counts": (lambda: PPO(num_steps=8, hidden=(8,), num_minibatches=2, num_epochs=2), Counts(table_size=64)),
    "ppo_rnd": (
        lambda: PPO(
            num_steps=8, hidden=(8,), num_minibatches=2, num_epochs=2, normalise_obs=True, normalise_reward=True
        ),
        RND(warmup_steps=8, hidden=(8,), embedding_size=8),
    ),
    "own": (Ensemble, EpisodicSteps()),
}


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow if name == "ppo_counts" else ()) for name in COMPONENTS]
)
def components(request):
    learner, bonus = COMPONENTS[request.param]
    return {"learner": learner(), "bonus": bonus}


@pytest.mark.fully_optimised
def test_pieces_equal_one_go_for_any_chunk_length(components):
    train = make(probes.RewardFromObs(), **components, total_steps=4 * 8 * 6 + 8)
    advance = jax.jit(train.advance, static_argnums=1)
    start = jax.jit(train.init)(jax.random.key(0))
    whole, metrics = advance(start, 6)
    for chunk in (1, 2, 3):
        state, pieces = start, []
        for _ in range(6 // chunk):
            state, piece = advance(state, chunk)
            pieces.append(piece)
        assert_equal(state, whole)
        assert_equal(jax.tree.map(lambda *parts: np.concatenate(parts), *pieces), jax.tree.map(np.asarray, metrics))


@pytest.mark.fully_optimised
def test_one_call_equals_its_pieces(components):
    train = make(probes.RewardFromObs(), **components)
    result = jax.jit(train)(jax.random.key(0))
    state, metrics = train.advance(train.init(jax.random.key(0)), train.num_updates)
    for x, y in zip(jax.tree.leaves(result.metrics), jax.tree.leaves(metrics), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)
    assert int(state.update) == train.num_updates


@pytest.mark.fully_optimised
def test_a_lane_alone_equals_the_lane_in_a_batch(components):
    train = make(probes.RewardFromObs(), **components, total_steps=4 * 8 * 2 + 8)
    batch = jax.jit(jax.vmap(train))(keys(3))
    for lane, key in enumerate(keys(3)):
        alone = jax.jit(train)(key)
        for x, y in zip(jax.tree.leaves(alone.metrics), jax.tree.leaves(batch.metrics), strict=True):
            np.testing.assert_allclose(x, y[lane], rtol=1e-4, atol=1e-5)


@pytest.mark.fully_optimised
def test_lax_map_is_vmap(components):
    train = make(probes.RewardFromObs(), **components, total_steps=4 * 8 * 2 + 8)
    mapped, vmapped = jax.jit(lambda k: jax.lax.map(train, k))(keys(2)), jax.jit(jax.vmap(train))(keys(2))
    for x, y in zip(jax.tree.leaves(mapped.metrics), jax.tree.leaves(vmapped.metrics), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_seeds_differ_in_networks_environments_and_exploration():
    train = make(probes.RewardFromObs(), Recorder(), bonus=None)
    result = jax.jit(jax.vmap(train))(keys(4))
    init = jax.vmap(train.init)(keys(4))
    batch = result.metrics["batch"]
    for values in (init.learner["w"], batch.obs[:, 0], batch.action[:, 0], result.state.learner["w"]):
        flat = np.asarray(values).reshape(4, -1)
        assert len(np.unique(flat, axis=0)) == 4


def test_a_traced_number_never_compiles_again(components):
    traces = []

    @jax.jit
    def run(learner, bonus, env_params, key):
        traces.append(1)
        return make(probes.RewardFromObs(), learner, bonus=bonus, env_params=env_params)(key).metrics

    learner, bonus = components["learner"], components["bonus"]
    run(learner, bonus, probes.Params(), jax.random.key(0))
    other = jax.tree.map(lambda x: x * 0.5, learner)
    other_bonus = jax.tree.map(lambda x: x * 0.5, bonus)
    run(other, other_bonus, probes.Params(max_steps_in_episode=3), jax.random.key(1))
    assert len(traces) == 1
    assert run._cache_size() == 1


def test_steps_are_rounded_down_and_said():
    with pytest.warns(UserWarning, match=r"total_steps 100 rounded down to 96: whole updates of 32"):
        train = purejaxrl.make_train(probes.Clock(), PPO(num_steps=8), num_envs=4, total_steps=100)
    assert train.env_steps == 96
    _, metrics = jax.jit(train)(jax.random.key(0))
    assert metrics["env_steps"].tolist() == [32, 64, 96]


def test_warm_up_is_counted_and_reaches_the_bonus():
    train = make(probes.Clock(), Ensemble(), bonus=EpisodicSteps(warmup_steps=10), visits=(lambda s: s.time, 4))
    assert train.env_steps == 4 * 2 + 4 * 6 * 4  # 10 steps are 2 per env
    state = jax.jit(train.init)(jax.random.key(0))
    assert state.bonus["warm"] == 8
    assert state.visits.tolist() == [0, 4, 4, 0]
    assert state.bonus["steps"].tolist() == [0] * 4, "episodic memory does not outlive the warm-up"
    assert state.first.all()
    assert state.env.time.tolist() == [0] * 4
    _, metrics = jax.jit(train)(jax.random.key(0))
    assert metrics["env_steps"][-1] == train.env_steps


@pytest.mark.parametrize(("warmup_steps", "expected"), [(0, 8), (4, 12), (8, 8)])
def test_the_first_reward_is_where_it_was(warmup_steps, expected):
    """The second step of every episode is the first that pays; a warm-up of one step sees none of them."""
    train = make(probes.Discounting(), bonus=EpisodicSteps(warmup_steps=warmup_steps))
    state, metrics = jax.jit(train)(jax.random.key(0))
    assert state.first_reward == expected
    assert (metrics["first_reward"] == expected).all()


def test_visits_are_exact():
    """Against NumPy on the transitions themselves; every step is counted once."""
    cells = (lambda state: state.x.astype(int), 5)
    train, batch = rollout(probes.Clock(), visits=cells)
    result = jax.jit(train)(jax.random.key(0))
    np.testing.assert_array_equal(batch.cell, batch.next_obs[..., 0])
    np.testing.assert_array_equal(result.state.visits, np.bincount(batch.cell.ravel(), minlength=5))
    assert result.state.visits.sum() == train.env_steps
    np.testing.assert_allclose(result.metrics["coverage"][-1], 3 / 5)


def test_cells_outside_are_not_counted():
    train = make(probes.Clock(), visits=(lambda state: jnp.where(state.x == 2, -1, 9 * (state.x == 3)), 2))
    result = jax.jit(train)(jax.random.key(0))
    np.testing.assert_array_equal(result.state.visits, [result.metrics["num_episodes"].sum() + 4 * (160 % 3 > 0), 0])


def test_schedules_stay_at_their_end_beyond_it():
    """Going on after the last update moves nothing with a learning rate that has annealed to zero."""
    train = make(probes.RewardFromObs())
    state, _ = jax.jit(train)(jax.random.key(0))
    beyond, _ = jax.jit(train.advance, static_argnums=1)(state, 3)
    assert_equal(beyond.learner.params, state.learner.params)
    with pytest.raises(SettingError, match="num_updates must be >= 1, got -1"):
        train.advance(state, -1)


def test_fields_that_a_bonus_may_leave_out():
    class Bare:
        def init(self, key, spec):
            return ()

        def observe(self, state, transition):
            return state, ()

        def reward(self, state, transition, memo):
            return jnp.full(transition.reward.shape, 0.5)

        def update(self, state, key, batch):
            return state, {}

    metrics = jax.jit(make(probes.Clock(), bonus=Bare()))(jax.random.key(0)).metrics
    np.testing.assert_array_equal(metrics["bonus_mean"], 0.5)


def test_metrics_take_memory_by_updates_only():
    for num_envs in (2, 16):
        train = make(probes.Clock(), num_envs=num_envs, total_steps=num_envs * 8 * 3, bonus=Counts(table_size=64))
        shapes = jax.eval_shape(train, jax.random.key(0)).metrics
        assert all(leaf.shape == (3,) for leaf in jax.tree.leaves(shapes))


@pytest.mark.fully_optimised
def test_hanging_shape_of_seeds_by_envs():
    """8 seeds × 64 envs, vmapped with the default network: the program in which orthogonal QR deadlocks."""
    train = make(probes.RewardFromObs(), PPO(num_steps=4), num_envs=64, total_steps=64 * 4)
    assert jax.block_until_ready(jax.jit(jax.vmap(train))(keys(8))).metrics["policy_loss"].shape == (8, 1)


def test_a_metric_may_not_hide_another():
    @struct.dataclass
    class Clashing(EpisodicSteps):
        def update(self, state, key, batch):
            return state, {"env_steps": jnp.zeros(())}

    with pytest.raises(SettingError, match="bonus: its metric 'env_steps' has a name that is already taken"):
        jax.eval_shape(make(probes.Clock(), bonus=Clashing()), jax.random.key(0))
