"""NGU against a plain NumPy version of Badia et al. 2020: algorithm 1 and eq. 1, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces
from numpynets import adam_gradient, assert_trees_close, forward, gradient

from purejaxrl.bonuses import NGU
from purejaxrl.types import Spec, Transition

NUM_STEPS, NUM_ENVS = 23, 3
SPEC = Spec(None, spaces.Discrete(3), NUM_ENVS, NUM_STEPS, 4, observation=jax.ShapeDtypeStruct((2,), np.float32))
SMALL = {"hidden": (6,), "embedding_size": 4, "num_epochs": 1, "num_minibatches": 1}
# Every branch happens: near and far neighbours, clipping on both sides, too similar, a ring that runs over.
KERNEL = {"epsilon": 0.05, "cluster_distance": 0.1, "min_count": 0.02, "max_similarity": 1.3, "max_scale": 1.5, "k": 3}


class Numpy:
    """The method with lists; parameters are read from the state, everything that runs is kept here."""

    def __init__(self, bonus):
        self.bonus, self.memory = bonus, [[] for _ in range(NUM_ENVS)]
        self.distance, self.distances, self.errors = 1.0, [], []

    def episodic(self, encoder, batch):
        """Algorithm 1 at every step, d_m² as it was at the rollout's start."""
        bonus, values, self.new = self.bonus, np.zeros((NUM_STEPS, NUM_ENVS)), []
        for step in range(NUM_STEPS):
            for env, memory in enumerate(self.memory):
                phi, next_phi = forward(encoder, np.stack([batch.obs[step, env], batch.next_obs[step, env]]))
                if batch.first[step, env]:
                    assert not memory
                    memory.append(phi)
                nearest = sorted(np.square(next_phi - old).sum() for old in memory)[: bonus.k]
                self.new += nearest
                rate = np.maximum(np.array(nearest) / self.distance - bonus.cluster_distance, 0)
                s = np.sqrt((bonus.epsilon / (rate + bonus.epsilon)).sum()) + bonus.min_count
                values[step, env] = 0 if s > bonus.max_similarity else 1 / s
                memory.append(next_phi)
                del memory[: -bonus.memory_size]
                if batch.terminated[step, env] or batch.truncated[step, env]:
                    memory.clear()
        return values

    def error(self, state, obs):
        seen = state.distillation.obs_moments
        x = np.clip((obs.reshape(-1, 2) - seen.mean) / np.sqrt(np.asarray(seen.var, np.float64) + 1e-8), -5, 5)
        difference = forward(state.distillation.predictor, x) - forward(state.distillation.target, x)
        return np.square(difference).sum(-1).reshape(obs.shape[:-1])

    def lifelong(self, error):
        mean, std = (np.mean(self.errors), np.std(self.errors)) if self.errors else (0.0, 1.0)
        return np.clip(1 + (error - mean) / std, 1, self.bonus.max_scale)

    def update(self, error):
        self.distances += self.new
        self.distance = np.mean(self.distances)
        self.errors += list(error.reshape(-1))


def rollout_batch(seed, first):
    """Walks on a small grid that come back to where they were; episodes end at different times, in either way."""
    generator, leading = np.random.default_rng(seed), (NUM_STEPS, NUM_ENVS)
    done = generator.random(leading) < 0.1
    terminated = done & (generator.random(leading) < 0.5)
    obs, next_obs = generator.integers(0, 3, (2, *leading, 2)).astype(np.float32)
    for step in range(1, NUM_STEPS):  # within an episode the next observation is what is acted on
        obs[step] = np.where(done[step - 1][:, None], obs[step], next_obs[step - 1])
    return Transition(
        obs=obs,
        next_obs=next_obs,
        action=generator.integers(0, 3, leading),
        reward=np.zeros(leading, np.float32),
        terminated=terminated,
        truncated=done & ~terminated,
        first=np.concatenate([first[None], done[:-1]]),
    )


def test_bonus_is_the_paper_s():
    """A warm-up and two rollouts; episodes go on from the second to the third, under changed parameters.

    The key is one whose weights lead into every branch.
    """
    bonus = NGU(**SMALL, **KERNEL, memory_size=5, learning_rate=0.01)
    state, plain, first = bonus.init(jax.random.key(4), SPEC), Numpy(bonus), np.ones(NUM_ENVS, bool)
    rollout = jax.jit(lambda state, batch: jax.lax.scan(bonus.observe, state, batch))
    reward, update, branches = jax.jit(bonus.reward), jax.jit(bonus.update), []
    for index in range(3):
        warm_up = index == 0
        batch = rollout_batch(index, first)
        if warm_up:  # its last step is marked as truncated by the loop
            batch.truncated[-1], batch.terminated[-1] = True, False
        first = batch.terminated[-1] | batch.truncated[-1]
        state, memo = rollout(state, jax.tree.map(jnp.asarray, batch))
        episodic, error = plain.episodic(state.dynamics.params.encoder, batch), plain.error(state, batch.next_obs)
        np.testing.assert_allclose(memo.value, episodic, rtol=2e-3, atol=1e-5)
        full = jax.tree.map(jnp.asarray, batch).replace(memo=memo)
        if not warm_up:
            lifelong = plain.lifelong(error)
            np.testing.assert_allclose(reward(state, full, memo), episodic * lifelong, rtol=5e-3, atol=1e-5)
            row = jax.tree.map(lambda x: x[4], full)
            np.testing.assert_allclose(bonus.reward(state, row, row.memo), (episodic * lifelong)[4], rtol=5e-3)
            branches += [episodic == 0, lifelong == 1, lifelong == 1.5, (lifelong > 1) & (lifelong < 1.5)]
            full = full.replace(bonus=full.reward)
        before = state
        state, metrics = update(state, jax.random.key(index), full)
        plain.update(plain.error(state, batch.next_obs) if warm_up else error)
        np.testing.assert_allclose(state.distance, plain.distance, rtol=1e-4)
        np.testing.assert_allclose(state.errors.mean, np.mean(plain.errors), rtol=1e-3)
        np.testing.assert_allclose(state.errors.var, np.var(plain.errors), rtol=1e-2)
        same = jax.tree.map(np.array_equal, before.dynamics.params, state.dynamics.params)
        assert all(jax.tree.leaves(same)) == warm_up
        assert bool(metrics) != warm_up
        np.testing.assert_array_equal(before.memory, state.memory)
    assert all(branch.any() for branch in branches)


def test_embedding_learns_the_action_alone():
    bonus = NGU(**SMALL)
    state = bonus.init(jax.random.key(1), SPEC)
    batch = jax.tree.map(jnp.asarray, rollout_batch(0, np.ones(NUM_ENVS, bool)))
    batch = batch.replace(obs=batch.obs + 0.3, next_obs=batch.next_obs + 0.3)  # off the kinks of ReLUs without bias
    state, memo = jax.lax.scan(bonus.observe, state, batch)
    after, _ = bonus.update(state, jax.random.key(2), batch.replace(memo=memo, bonus=batch.reward))
    obs, next_obs = (np.asarray(x).reshape(-1, 2) for x in (batch.obs, batch.next_obs))
    action = np.eye(3)[np.asarray(batch.action).reshape(-1)]

    def loss(params):
        guess = forward(params.inverse, forward(params.encoder, obs), forward(params.encoder, next_obs))
        return (np.log(np.exp(guess).sum(-1)) - (guess * action).sum(-1)).mean()

    params = state.dynamics.params
    assert_trees_close(adam_gradient(after.dynamics.opt_state, params), gradient(loss, params))
