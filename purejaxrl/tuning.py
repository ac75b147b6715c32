"""Searches that learn: Optuna proposes configurations in batches, from what came of those that were tried before."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from purejaxrl import files, processes, search
from purejaxrl.search import Choice, Configuration, LogUniform, Uniform
from purejaxrl.types import SettingError, check_choice, check_int

NAME = "sweep"  # of the study in its journal
SAMPLERS = ("tpe", "qmc", "nsga2")
CREATE_TRIAL = 4  # the code that Optuna's journals have for it


class Tuner:
    """A study of one search. `ask` names the next batch, `tell` takes what came of it.

    The journal is Optuna's own, so that its dashboard and its analyses read it. After a stop the first batch is all
    that the journal knows, finished or not: what the sweep's folder has of it is not run again. Each batch has a
    sampler of its own, seeded by how many trials there are, so that going on proposes what it would have; a batch
    that was being proposed when the process was killed, of which nothing can have run, is proposed again.
    """

    def __init__(
        self,
        space: Any,
        samples: int | None,
        batch: int,
        sampler: Any,
        seed: int,
        journal: Path | None,
        directions: Mapping[str, str],
    ):
        self.optuna = _optuna()
        if not isinstance(space, Mapping) or not space:
            raise SettingError("search must map fields to distributions or lists, where a sampler proposes")
        search.check_fields(space)
        check_int(samples, "samples", ge=1, le=search.MOST_RUNS)
        check_int(batch, "batch", ge=1)
        check_int(seed, "search_seed", ge=0)
        self.samples, self.batch, self.seed, self.directions = samples, batch, seed, directions
        self.sampler = sampler if callable(sampler) else self._named(sampler)
        # Optuna takes equal ones for the same, as 1 and True, and knows no tuples: it gets their places in the list.
        self.choices = {name: _choices(name, values) for name, values in space.items()}
        self.space = {name: self._distribution(values, self.choices[name]) for name, values in space.items()}
        self.journal, self._study, self._asked = journal, None, 0

    def ask(self) -> list[Configuration]:
        """The next configurations; none when there were `samples`."""
        params = processes.from_first(self._propose)
        self._asked += len(params)
        return [{name: self.choices[name].get(value, value) for name, value in one.items()} for one in params]

    def _propose(self) -> list[dict[str, Any]]:
        """The next batch as Optuna has it: its values are JSON's."""
        study = self.study
        if self._asked == 0 and study.trials:
            trials = study.trials
        else:
            with self._experimental():
                study.sampler = self.sampler(self.seed + len(study.trials))
            count = min(self.batch, (self.samples or 0) - len(study.trials))
            trials = [study.ask(self.space) for _ in range(count)]
        return [dict(trial.params) for trial in trials]

    def tell(self, values: Mapping[int, Sequence[float]]) -> None:
        """What each trial has of each objective, by the trial's number, which is its configuration's id."""
        if not processes.is_first():
            return
        states = self.optuna.trial.TrialState
        for trial in self.study.trials:
            if not trial.state.is_finished() and trial.number in values:
                self.study.tell(trial.number, values[trial.number])
            elif not trial.state.is_finished() and trial.number < self._asked:
                self.study.tell(trial.number, state=states.FAIL)

    @property
    def study(self) -> Any:
        """Optuna's study, made or found at first use: nothing is written before the search was checked."""
        if self._study is None:
            self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
            try:
                self._study = self._opened()
            except OSError:
                raise
            except Exception as error:  # of damage Optuna has errors of many types
                if self.journal is None:
                    raise
                raise SettingError(f"{self.journal} is damaged ({type(error).__name__}): remove its folder") from error
        return self._study

    def _opened(self) -> Any:
        if self.journal is None:
            study = self._made(None)
        else:
            _free(self.journal)
            study = self._made(self.journal)
            trials = study.trials
            last = (len(trials) - 1) // self.batch * self.batch  # the first trial of the last batch
            if trials and not (len(trials) in (last + self.batch, self.samples) and self._is_whole(trials[-1])):
                _cut(self.journal, last)
                study = self._made(self.journal)
        if not all(self._is_whole(trial) for trial in study.trials):
            raise ValueError("it is of another search")
        with self._experimental():
            study.set_metric_names(list(self.directions))  # in the journal, for those who read it
        return study

    def _made(self, journal: Path | None) -> Any:
        storage = None
        if journal is not None:
            backend = self.optuna.storages.journal.JournalFileBackend(str(journal))
            storage = self.optuna.storages.JournalStorage(backend)
        made = {"study_name": NAME, "storage": storage, "load_if_exists": True}
        return self.optuna.create_study(**made, directions=list(self.directions.values()))

    def _is_whole(self, trial: Any) -> bool:
        return trial.params.keys() == self.space.keys()

    @contextmanager
    def _experimental(self) -> Iterator[None]:
        """Optuna warns of some of its parts that they may change."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self.optuna.exceptions.ExperimentalWarning)
            yield

    def _named(self, name: Any) -> Callable[[int], Any]:
        check_choice(name, SAMPLERS, "sampler")
        samplers = self.optuna.samplers
        if name == "qmc":
            # What it cannot place in its sequence it draws: another value each time, as long as no run has a result.
            drawn = samplers.RandomSampler
            quiet = {"warn_asynchronous_seeding": False, "warn_independent_sampling": False}
            return lambda seed: samplers.QMCSampler(seed=self.seed, independent_sampler=drawn(seed), **quiet)
        if name == "nsga2":
            check_int(self.batch, "batch", ge=2)
            return lambda seed: samplers.NSGAIISampler(seed=seed, population_size=self.batch)
        return lambda seed: samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)

    def _distribution(self, values: Any, choices: Mapping[int, Any]) -> Any:
        distributions = self.optuna.distributions
        if isinstance(values, (Uniform, LogUniform)):
            return distributions.FloatDistribution(values.low, values.high, log=isinstance(values, LogUniform))
        return distributions.CategoricalDistribution(tuple(choices))


def _free(journal: Path) -> None:
    """Remove what a process that was killed as it wrote has left: its lock, and half a line.

    Optuna would wait for the lock, and for ever where the path is relative; the sweep's folder has one of its own. To
    half a line the next one would be appended.
    """
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.exists():
        files.cut_half_line(journal)


def _cut(journal: Path, trial: int) -> None:
    """Drop all that the journal has from where it makes this trial."""
    with journal.open("r+b") as file:
        size, made = 0, 0
        for line in file:
            made += json.loads(line)["op_code"] == CREATE_TRIAL
            if made > trial:
                break
            size += len(line)
        file.truncate(size)


def _choices(name: str, values: Any) -> dict[int, Any]:
    """The values of a list or a Choice, by their places in it."""
    if isinstance(values, (Uniform, LogUniform)):
        return {}
    listed = values.values if isinstance(values, Choice) else search.listed(name, values)
    return dict(enumerate(listed))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise SettingError("sampler: it needs Optuna: pip install 'purejaxrl[optuna]'") from None
    return optuna
