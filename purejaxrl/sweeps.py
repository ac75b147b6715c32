"""Populations of runs that differ in some numbers and in their seeds, as lanes of one compiled program."""

from __future__ import annotations

import dataclasses
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from purejaxrl import metrics
from purejaxrl.lanes import Lanes, lane_keys
from purejaxrl.progress import Progress
from purejaxrl.train import Train, make_train
from purejaxrl.types import SettingError, check_choice


class Point(NamedTuple):
    """One run: the values of the searched fields, by their dotted names, and its seed."""

    values: Mapping[str, float]
    seed: int


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the runs have in common."""

    env: Any
    env_params: Any
    learner: Any
    bonus: Any
    num_envs: int
    total_steps: int
    visits: Any = None  # as for make_train

    @property
    def components(self) -> dict[str, Any]:
        """The parts whose numbers can be searched, by the first word of a dotted name."""
        return {"env": self.env_params, "algo": self.learner, "bonus": self.bonus}

    def bind(self, components: Mapping[str, Any], values: Mapping[str, Any]) -> Train:
        """The run of these components with these values in the place of their own."""
        found = dict(components)
        for dotted, value in values.items():
            part, name = dotted.split(".")
            found[part] = dataclasses.replace(found[part], **{name: value})
        return make_train(
            self.env,
            found["algo"],
            bonus=found["bonus"],
            env_params=found["env"],
            num_envs=self.num_envs,
            total_steps=self.total_steps,
            visits=self.visits,
        )

    def check(self, fields: Sequence[str]) -> None:
        """Raise :class:`SettingError` unless each dotted name is a number of a component, which can differ by lane."""
        for dotted in fields:
            part, _, name = dotted.partition(".")
            check_choice(part, list(self.components), "the part of a searched field")
            component = self.components[part]
            if component is None:
                raise SettingError(f"{dotted}: there is no {part}")
            known = {field.name: field for field in dataclasses.fields(component)}
            check_choice(name, list(known), part)
            if not known[name].metadata.get("pytree_node", True):
                raise SettingError(f"{dotted} shapes the program: it cannot differ from lane to lane")


class Program:
    """The runs of a setup that differ in `fields` and in their seeds: compiled at first use, for any number of them.

    As many lanes as there are CPU devices run at once, or on an accelerator `num_points` of them.
    """

    def __init__(self, setup: Setup, fields: Sequence[str], num_points: int):
        setup.check(fields)
        self.setup, self.fields = setup, tuple(fields)
        devices = jax.device_count()
        self.num_lanes = devices if jax.default_backend() == "cpu" else -(-num_points // devices) * devices
        self._lanes: Lanes | None = None

    def lanes(self, progress: Progress) -> Lanes:
        if self._lanes is None:
            setup = self.setup
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                train = setup.bind(setup.components, {})
            own = {field: np.zeros(self.num_lanes, np.float32) for field in self.fields}
            self._lanes = Lanes(train, setup.bind, setup.components, own, self.num_lanes)
            self._lanes.compile(progress)
        return self._lanes

    def run(
        self, points: Sequence[Point], progress: Progress, interrupted: threading.Event
    ) -> Iterator[tuple[Sequence[Point], pd.DataFrame]]:
        """Run the points, so many lanes at a time; yield each time their points and metrics, `point, update, ...`.

        `point` counts from 0 within what is yielded. An interrupt ends it, and what is under way then is lost.
        """
        for start in range(0, len(points), self.num_lanes):
            if interrupted.is_set():
                return
            batch = points[start : start + self.num_lanes]
            lanes = self.lanes(progress)
            padded = [*batch, *[batch[-1]] * (self.num_lanes - len(batch))]
            own = {field: np.asarray([point.values[field] for point in padded], np.float32) for field in self.fields}
            seconds, found = lanes.run_seconds, []
            lanes.begin(own, lane_keys(point.seed for point in padded))
            while lanes.done < lanes.train.num_updates:
                if interrupted.is_set():
                    return
                first = lanes.done + 1
                arrays = {name: values[: len(batch)] for name, values in lanes.advance(own).items()}
                found.append(metrics.frame(arrays, range(len(batch)), first_update=first))
                steps = (lanes.done + 1 - first) * lanes.per_update // self.num_lanes * len(batch)
                progress.advance(steps, found[-1])
            frame = pd.concat(found, ignore_index=True).rename(columns={"seed": "point"}).drop(columns="config_id")
            yield batch, frame.assign(seconds=(lanes.run_seconds - seconds) / len(batch))
