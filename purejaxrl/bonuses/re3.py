"""Random encoders for efficient exploration (RE3; Seo et al. 2021, arXiv:2102.09430): log(‖y − y_kNN‖₂ + 1).

y is a fixed random network's embedding of the next observation, y_kNN its k-th nearest neighbour among what was seen:
a particle estimate of the state entropy's gradient, with nothing learned. The neighbours are looked for in a uniform
sample of all past steps of fixed size (a reservoir), in which a transition is never its own neighbour, also when it is
replayed: transitions are numbered.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import minibatches, networks
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import NORMALISERS, Array, PyTree, SettingError, Spec, Transition, static

CHUNK = 1024  # samples whose distances to the whole memory are held at once


class RE3State(struct.PyTreeNode):
    encoder: PyTree  # fixed parameters
    embedding: Array  # float32 [memory_size, embedding_size], the memory
    number: Array  # int32 [memory_size], which transition it was
    priority: Array  # int32 [memory_size], random; the largest of all that were drawn stay; negative: empty
    steps: Array  # int32 scalar, transitions observed
    network: Any = struct.field(pytree_node=False)


class RE3(Weighted):
    """State entropy in the space of a fixed random encoder; lifelong."""

    normalise: str = static("std", choices=NORMALISERS)
    warmup_steps: int = static(512, ge=0)  # random steps for the memory before training, counted
    k: int = static(3, ge=1)  # nearest neighbours
    average: bool = static(False)  # mean distance to the k nearest instead of that to the k-th
    memory_size: int = static(2048, ge=1)  # past observations, a uniform sample of all of them
    hidden: tuple[int, ...] = static((64, 64))  # of the encoder, for flat observations (grids get a CNN)
    embedding_size: int = static(64, ge=1)  # outputs of the encoder

    def check(self, spec: Spec) -> None:
        if self.k > self.memory_size:
            raise SettingError(f"bonus.k must be at most bonus.memory_size = {self.memory_size}, got {self.k}")

    def init(self, key: Array, spec: Spec) -> RE3State:
        network = networks.Embedding(self.embedding_size, self.hidden)
        return RE3State(
            encoder=networks.init(network, key, spec.example_obs()),
            embedding=jnp.zeros((self.memory_size, self.embedding_size)),
            number=jnp.full(self.memory_size, -1),
            priority=jnp.full(self.memory_size, -1),
            steps=jnp.zeros((), jnp.int32),
            network=network,
        )

    def observe(self, state: RE3State, transition: Transition) -> tuple[RE3State, Array]:
        """The memo is each transition's number, ``[E]``."""
        size = transition.reward.size
        return state.replace(steps=state.steps + size), state.steps + jnp.arange(size)

    def reward(self, state: RE3State, transition: Transition, memo: Array) -> Array:
        leading = transition.reward.shape
        obs = minibatches.flatten(transition.next_obs, len(leading))
        centre = state.embedding.mean(0)  # distances by products lose their digits far from the origin
        memory = state.embedding - centre
        norms = jnp.square(memory).sum(-1)

        def distance(sample):
            y, number = sample
            # ‖m − y‖² but for ‖y‖², good enough to find the neighbours; their distances are then exact.
            score = norms - 2.0 * memory @ (y - centre)
            score = jnp.where((state.priority < 0) | (state.number == number), jnp.inf, score)
            score, nearest = jax.lax.top_k(-score, self.k)
            neighbours = jnp.where(jnp.isfinite(score)[:, None], state.embedding[nearest], 0.0)
            distances = jnp.sqrt(jnp.square(neighbours - y).sum(-1))
            return distances.mean() if self.average else distances.max()

        found = jax.lax.map(distance, (_embed(state, obs), memo.reshape(-1)), batch_size=CHUNK)
        return jnp.log1p(found).reshape(leading)

    def update(self, state: RE3State, key: Array, batch: Transition) -> tuple[RE3State, dict[str, Array]]:
        """Each transition draws a priority once; the `memory_size` largest ever drawn are a uniform sample."""
        count = batch.reward.size
        priority = (jax.random.bits(key, (count,), jnp.uint32) >> 1).astype(jnp.int32)
        priority, chosen = jax.lax.top_k(priority, min(count, self.memory_size))
        obs, number = jax.tree.map(lambda x: x[chosen], minibatches.flatten((batch.next_obs, batch.memo)))
        priority, kept = jax.lax.top_k(jnp.concatenate([state.priority, priority]), self.memory_size)
        embedding = jnp.concatenate([state.embedding, _embed(state, obs)])[kept]
        number = jnp.concatenate([state.number, number])[kept]
        return state.replace(embedding=embedding, number=number, priority=priority), {}


def _embed(state: RE3State, obs: PyTree) -> Array:
    """``[batch, embedding_size]`` of observations ``[batch, ...]``."""
    return jax.vmap(state.network.apply, (None, 0))(state.encoder, obs)
