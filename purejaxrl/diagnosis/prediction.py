"""How well a small network predicts reward, termination and next observation, from what the agent sees and does.

Four networks learn side by side: from the observation and the action, and from the last few observations too; each
from the true outcomes, and from shuffled ones, which nothing can predict. They are judged on envs that none has learned
from.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from purejaxrl import networks
from purejaxrl.diagnosis.findings import Estimate, ratio
from purejaxrl.diagnosis.programs import once
from purejaxrl.types import Array

HISTORY = 4  # observations, the present one included
FEATURES = 256  # of an observation; more are projected at random onto so many
UPDATES, BATCH, LEARNING_RATE = 800, 256, 3e-3
FEWEST = 5  # of an outcome, both learned from and held out, for it to be judged
CLIP = 5.0  # standard deviations
SEES = (0.0, 1.0, 0.0, 1.0)  # which of the networks see the history,
SHUFFLED = (0, 0, 1, 1)  # and which learn from shuffled outcomes


@dataclasses.dataclass(frozen=True)
class Score:
    """R² of rewards or of how observations change, or the AUC of terminations, on envs held out.

    A constant has an R² of 0 and an AUC of .5.
    """

    observation: Estimate  # from observation and action
    history: Estimate  # from the last observations and the action
    gain: Estimate  # of the history, on the same steps
    shuffled: float  # of the better of those that learned from, and are judged on, shuffled outcomes
    envs: float  # over how many of them what is to be explained is spread: few where rare events are all of it
    events: int  # held-out steps with another reward than the usual one, that terminate, or that have a next step


class _Data(NamedTuple):
    """Leaves ``[num_steps, lanes, ...]``."""

    obs: Any  # float32 [..., FEATURES or fewer], standardised
    action: Any  # float32 [..., n]
    age: Any  # int32, steps since the episode's start
    target: Any  # float32 [2, num_steps, lanes, 2]: true and shuffled; reward, standardised, and termination
    change: Any  # float32 like obs, of the numbers whose changes differ, standardised; 0 at an episode's last step
    place: Any  # int32 [2, num_steps, lanes]: true and shuffled, which step's change it is, in num_steps * lanes


class Predictor(nn.Module):
    """Reward, the log odds of termination, and how `size` numbers change, of one vector."""

    size: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        hidden: Any = networks.MLP((64, 64), "relu")(x)
        return networks.Dense(2 + self.size, 0.01)(hidden)


def predict(played: Any, seed: int) -> dict[str, Score | None]:
    """The scores of ``"reward"``, ``"termination"``, ``"observation"``.

    None where it is too rare, always the same, or not finite.

    Args:
      played: a :class:`play.Play` of NumPy arrays; the last quarter of the watched envs of each policy is held out.
      seed: of networks and minibatches.
    """
    generator = np.random.default_rng(seed)
    num_steps, num_policies, watched = played.obs.shape[:3]
    lane = np.arange(num_policies * watched)
    held = lane % watched >= watched - watched // 4
    joined = lambda x: x[:, :, :watched].reshape(num_steps, num_policies * watched, *x.shape[3:])  # noqa: E731
    reward, terminated = joined(played.reward), joined(played.terminated)
    if not np.isfinite(reward).all():  # one would be in all gradients
        reward = np.zeros_like(reward)
    learned = np.argwhere(np.broadcast_to(~held, reward.shape))
    test = np.argwhere(np.broadcast_to(held, reward.shape))
    values, counts = np.unique(reward, return_counts=True)
    unusual = reward != values[counts.argmax()]
    scale = float(reward[:, ~held].std()) or 1.0
    true = np.stack([(reward - reward[:, ~held].mean()) / scale, terminated], -1).astype(np.float32)
    obs, done = _features(joined(played.obs), held, generator), terminated | joined(played.truncated)
    change, place = _changes(obs, done, held, generator)
    data = _Data(
        obs=obs,
        action=_features(joined(played.action), held, generator),
        age=_ages(joined(played.first)),
        target=np.stack([true, _shuffled(true, held, generator)]),
        change=change,
        place=place,
    )
    draws, weights = _batches(learned, (unusual | terminated)[tuple(learned.T)], generator)
    found = once(_fit, jax.random.key(seed), data, draws, weights, _padded(test))[:, : len(test)]
    enough = lambda events: min(events[:, held].sum(), events[:, ~held].sum()) >= FEWEST  # noqa: E731
    scores: dict[str, Score | None] = {"reward": None, "termination": None, "observation": None}
    judged = (("reward", _squares, enough(unusual), unusual),)
    judged += (("termination", _placements, enough(terminated) and enough(~terminated), terminated),)
    for place, (name, terms, can_be, events) in enumerate(judged):
        if can_be:
            targets = [data.target[shuffled, ..., place][tuple(test.T)] for shuffled in SHUFFLED]
            parts = [terms(target, found[net, :, place]) for net, target in enumerate(targets)]
            scores[name] = _score(parts, test[:, 1], int(events[:, held].sum()))
    going_on = np.concatenate([~done[:-1], np.zeros_like(done[:1])])
    if enough(going_on) and all(found[net, :, 3].any() for net in range(len(SHUFFLED))):
        parts = [(found[net, :, 3] - found[net, :, 2], found[net, :, 3]) for net in range(len(SHUFFLED))]
        scores["observation"] = _score(parts, test[:, 1], int(going_on[:, held].sum()))
    return scores


def _score(parts: list[tuple[np.ndarray, np.ndarray]], lanes: np.ndarray, events: int) -> Score:
    """Of each network's share of the whole, numerators and denominators by step."""
    by_env = lambda x: np.bincount(lanes, weights=x)[np.unique(lanes)]  # noqa: E731
    (obs, weight), (history, _), *shuffled = [tuple(map(by_env, part)) for part in parts]
    return Score(
        observation=ratio(obs, weight),
        history=ratio(history, weight),
        gain=ratio(history - obs, weight),
        shuffled=max(float(some.sum() / all.sum()) for some, all in shuffled),
        events=events,
        envs=float(weight.sum() ** 2 / np.square(weight).sum()),
    )


def _squares(target: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of R² = Σ (y² - (y - f)²) / Σ y² the terms of both sums; y is the distance to the mean that was learned from."""
    total = np.square(target.astype(float))
    return total - np.square(target - found.astype(float)), total


def _placements(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the AUC: of each positive step the share of negatives below it, 0 for others; and 1 for each positive."""
    positive = positive > 0
    negatives = np.sort(score[~positive])
    below = sum(np.searchsorted(negatives, score, side) for side in ("left", "right")) / (2 * max(len(negatives), 1))
    return np.where(positive, below, 0.0), positive.astype(float)


def _features(obs: np.ndarray, held: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Observations standardised by what is learned from, without what never varies, and at most FEATURES of them."""
    obs = np.nan_to_num(obs, posinf=0.0, neginf=0.0)
    known = obs[:, ~held].reshape(-1, obs.shape[-1])
    mean, std = known.mean(0), known.std(0)
    varies = std > 1e-6 * np.maximum(1.0, np.abs(mean))
    obs = np.clip((obs[..., varies] - mean[varies]) / std[varies], -CLIP, CLIP)
    if obs.shape[-1] > FEATURES:
        size = obs.shape[-1]
        obs = obs @ (generator.normal(size=(size, FEATURES)) / np.sqrt(size)).astype(np.float32)
    return obs.astype(np.float32)


def _ages(first: np.ndarray) -> np.ndarray:
    """Steps since the episode's start of ``first [num_steps, lanes]``, int32."""
    step = np.arange(len(first))[:, None]
    return (step - np.maximum.accumulate(np.where(first, step, 0))).astype(np.int32)


def _shuffled(target: np.ndarray, held: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Outcomes ``[num_steps, lanes, 2]`` in a random order, of the lanes that are held out and of the others each."""
    out = target.copy()
    for lanes in (held, ~held):
        rows = target[:, lanes].reshape(-1, target.shape[-1])
        out[:, lanes] = generator.permutation(rows).reshape(len(target), -1, target.shape[-1])
    return out


def _changes(
    obs: np.ndarray, done: np.ndarray, held: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How observations change until the next step, and which step's change each step has to predict.

    Of the numbers whose changes differ, each by its distance to the mean of what is learned from.
    Shuffled ones come from the same lanes, held out or not, and from steps that do have a next one, as its own does.
    """
    change = np.zeros_like(obs)
    change[:-1] = obs[1:] - obs[:-1]
    going_on = np.concatenate([~done[:-1], np.zeros_like(done[:1])])
    known = change[going_on & ~held].astype(float)
    if len(known):
        mean, std = known.mean(0), known.std(0)
        varies = std > 1e-4 * np.maximum(1.0, np.abs(mean))  # a clock's change does by rounding alone
        change = np.clip((change[..., varies] - mean[varies]) / std[varies], -CLIP, CLIP)
        change -= change[going_on & ~held].mean(0)  # which clipping moves
    change = np.where(going_on[..., None], change, 0.0).astype(np.float32)
    places = np.arange(done.size, dtype=np.int32).reshape(done.shape)
    shuffled = places.copy()
    for lanes in (held, ~held):
        where = going_on & lanes
        shuffled[where] = generator.permutation(places[where])
    return change, np.stack([places, shuffled])


def _batches(rows: np.ndarray, events: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Minibatches of steps, int ``[UPDATES, BATCH, 2]``, with weights: one half of any steps, one of events.

    The weights undo that events come more often than they happen, so that losses keep their mean, and rare outcomes
    their say.
    """
    count, rare = len(rows), int(events.sum())
    share = np.full(count, 1 / count) if rare == 0 else 0.5 / count + 0.5 * events / rare
    some = generator.integers(count, size=(UPDATES, BATCH))
    if rare:
        some[:, BATCH // 2 :] = generator.choice(np.flatnonzero(events), size=(UPDATES, BATCH - BATCH // 2))
    return rows[some], (1 / count / share)[some].astype(np.float32)


def _padded(rows: np.ndarray, size: int = 1024) -> np.ndarray:
    """Rows in blocks ``[n, size, 2]``, the last one filled up with its last row."""
    blocks = -(-len(rows) // size)
    return np.concatenate([rows, np.repeat(rows[-1:], blocks * size - len(rows), 0)]).reshape(blocks, size, 2)


def _fit(key: Array, data: _Data, draws: Array, weights: Array, test: Array) -> Array:
    """Train the four networks and return what each predicts of the test rows, ``[4, rows, 4]``.

    Reward, log odds of termination, and of the change the squared error and the square of what it is.
    """
    network: Any = Predictor(data.change.shape[-1])
    changes = data.change.reshape(data.age.size, data.change.shape[-1])
    optimiser = optax.adam(optax.linear_schedule(LEARNING_RATE, 0.0, UPDATES))
    outputs: Any = jax.vmap(network.apply, (None, 0))
    sees = jnp.array(SEES)

    def inputs(rows: Array, sees: Array) -> Array:
        step, lane = rows[:, 0], rows[:, 1]
        age, parts = data.age[step, lane], [data.action[step, lane], data.obs[step, lane]]
        for back in range(1, HISTORY):
            there = (sees * (age >= back))[:, None]
            parts += [there, there * data.obs[jnp.maximum(step - back, 0), lane]]
        return jnp.concatenate(parts, -1)

    def errors(found, shuffled, rows):
        """Of the change, summed over its numbers: the squared error, and that of a constant."""
        true = changes[data.place[shuffled, rows[:, 0], rows[:, 1]]]
        going_on = jnp.any(true != 0, -1, keepdims=True)
        return jnp.square(going_on * (found[:, 2:] - true)).sum(-1), jnp.square(true).sum(-1)

    def loss(params, sees, shuffled, rows, weight):
        found = outputs(params, inputs(rows, sees))
        target = data.target[shuffled, rows[:, 0], rows[:, 1]]
        error = jnp.square(found[:, 0] - target[:, 0]) + errors(found, shuffled, rows)[0] / max(changes.shape[-1], 1)
        return jnp.mean(weight * (error + optax.sigmoid_binary_cross_entropy(found[:, 1], target[:, 1])))

    def begin(key):
        params = networks.init(network, key, inputs(test[0], sees[0])[0])
        return params, optimiser.init(params)

    def learn(carry, batch):
        rows, weight = batch

        def one(params, state, sees, shuffled):
            updates, state = optimiser.update(jax.grad(loss)(params, sees, shuffled, rows, weight), state)
            return optax.apply_updates(params, updates), state

        params, state = carry
        return jax.vmap(one)(params, state, sees, jnp.array(SHUFFLED)), None

    (params, _), _ = jax.lax.scan(learn, jax.vmap(begin)(jax.random.split(key, 4)), (draws, weights))

    def judged(rows):
        def one(params, sees, shuffled):
            found = outputs(params, inputs(rows, sees))
            return jnp.concatenate([found[:, :2], jnp.stack(errors(found, shuffled, rows), -1)], -1)

        return jax.vmap(one)(params, sees, jnp.array(SHUFFLED))

    return jnp.swapaxes(jax.lax.map(judged, test), 0, 1).reshape(4, -1, 4)
