"""An optimizer's state and configuration, in the forms that Keras writes to files."""

import numpy as np

from gpunet import arrays, schedules
from gpunet.errors import ShapeError
from gpunet.optimizers.own import is_own_step
from gpunet.tensor import value_of

__all__ = ["State"]

# What only Keras 3 writes into an optimizer's config.
_KERAS3 = ("loss_scale_factor", "gradient_accumulation_steps")
_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm", "weight_decay")
_NEWER = (
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "jit_compile",
    "is_legacy_optimizer",
)


class _Variables(list):
    """A list that may be called, since Keras 2 has both a method and a property."""

    def __call__(self):
        return self


class State:
    """The part of `Optimizer` that files see."""

    #: Slot name -> its name since Keras 2.11, where that differs.
    newer_slots = {}

    def slot_order(self):
        """Return in which order the slots of several weights are written.

        Returns:
            List of tuples of slot names; for each tuple all weights follow, each with all
            the slots of the tuple.
        """
        names = tuple(self.slots())
        return [(n,) for n in names] if self.is_legacy_optimizer else [names]

    def scalars(self):
        """Return the list of Variables that are written between iterations and slots."""
        return []

    def older_weights(self, values, count):
        """Turn a list of weights that an older Keras wrote into today's form.

        Args:
            values: list of numpy arrays.
            count: int, number of weights that have slots.
        """
        return values

    def _entries(self, groups=None):
        """Yield (Entry, slot name, initial value) in the order of files."""
        slots = self.slots()
        for group in self._store.groups if groups is None else groups:
            for names in self.slot_order() if slots else ():
                for entry in group:
                    for name in names:
                        yield entry, name, slots[name]

    @property
    def weights(self):
        """list of Variables: iterations, then the slots, in the order of Keras's files."""
        if self.has_own_step:
            return self._own_state()
        slots = [entry.slot(name, initial) for entry, name, initial in self._entries()]
        return [self.iterations, *self.scalars(), *slots]

    @weights.setter
    def weights(self, variables):
        self._listed = list(variables)  # by an author's own step

    @property
    def weight_names(self):
        """list of strs beside `weights`, as Keras writes them to files."""
        if self.has_own_step:
            return self._own_names()
        return self._names(self._entries())

    def state_of(self, weights):
        """Return what a file holds for a model: the state that belongs to its weights alone.

        Slots that don't exist yet are made, so that the file has them for every weight.

        Args:
            weights: list of Variables.

        Returns:
            (names, Variables), in the order in which a new optimizer of these weights has them.
        """
        if self.has_own_step:
            self._make_own(weights)
            return self._own_names(), self._own_state()
        self.build(weights)
        found = list(self._entries([[self._store.entry(w) for w in weights]]))
        slots = [entry.slot(name, initial) for entry, name, initial in found]
        return self._names(found), [self.iterations, *self.scalars(), *slots]

    def _names(self, entries):
        legacy = self.is_legacy_optimizer
        names = [f"{self.name}/iter:0" if legacy else "iteration:0"]
        names += [f"{self.name}/{v.name}:0" for v in self.scalars()]
        for entry, slot, _ in entries:
            weight = entry.ref().name.removesuffix(":0")
            if legacy:
                names.append(f"{self.name}/{weight}/{slot}:0")
            else:
                names.append(f"{self.name}/{self.newer_slots.get(slot, slot)}/{weight}:0")
        return names

    @property
    def variables(self):
        """list of Variables, the same as `weights`; may also be called."""
        return _Variables(self.weights)

    def get_slot_names(self):
        """Return the list of the slots' names."""
        return list(self.slots())

    def get_slot(self, var, slot_name):
        """Return the Variable that is a weight's slot.

        Raises:
            KeyError: no such slot, or a weight without slots.
        """
        return self._store.entry(var).slot(slot_name, self.slots()[slot_name])

    def get_weights(self):
        """Return copies of `weights` as a list of numpy arrays."""
        return [w.numpy() for w in self.weights]

    def set_weights(self, weights):
        """Write the state.

        Args:
            weights: list of arrays in the order of `weights`; or a list from before there
                were slots; or one that an older Keras wrote: Adam's with unused arrays at
                the end, RMSprop's without iterations.

        Raises:
            ShapeError: another number of arrays, or other shapes; nothing is written then.
        """
        values = [np.asarray(arrays.to_host(value_of(w))) for w in weights]
        targets = self.weights
        if len(values) != len(targets):
            values = self.older_weights(values, sum(map(len, self._store.groups)))
        if len(values) == 1 + len(self.scalars()) and values[0].dtype.kind == "i":
            # Written before the first step.
            values += [np.full(e.ref().shape, first) for e, _, first in self._entries()]
        if len(values) == len(targets) - 1:
            values = [np.zeros((), "int64"), *values]
        if len(values) == len(targets) + 1 and not self.is_legacy_optimizer:
            self.learning_rate = values.pop(1)  # Keras 3 writes it beside iterations
        if len(values) != len(targets):
            hint = "; build(weights) makes the slots" if not self._store.groups else ""
            raise ShapeError(
                f"{self.name}.set_weights: expected {len(targets)} arrays, got {len(weights)}{hint}"
            )
        for value, target, name in zip(values, targets, self.weight_names):
            if value.shape != tuple(target.shape):
                raise ShapeError(
                    f"{self.name}.set_weights: expected shape {target.shape} for {name!r}, "
                    f"got {value.shape}"
                )
        for value, target in zip(values, targets):
            target.assign(value)

    # -- configuration --------------------------------------------------------------------

    def get_config(self):
        """Return a dict of plain Python values from which `from_config` makes an equal one."""
        config = {"name": self.name}
        if self.has_own_step:  # the author's code writes the rest, and its constructor takes it
            options = {key: getattr(self, key) for key in _CLIPS if getattr(self, key) is not None}
            return options if self._by_updates else {**config, **options}
        if self.is_legacy_optimizer:
            for key in _CLIPS:
                if getattr(self, key) is not None:
                    config[key] = getattr(self, key)
        else:
            config.update((key, getattr(self, key)) for key in _NEWER)
        for key in self.settings:
            value = self._plain(key)
            if key != "decay" or value or self.is_legacy_optimizer:
                config[key] = value
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make an optimizer from what `get_config` of any version of Keras returned.

        Args:
            config: dict.
            custom_objects: dict name -> class, for schedules.
        """
        config = dict(config)
        if is_own_step(cls):
            return cls(**config)
        if any(key in config for key in _KERAS3):
            config["is_legacy_optimizer"] = False
            for key in _KERAS3:
                if config.pop(key, None) is not None:
                    raise ValueError(f"{cls.__name__}: {key} isn't available")
        if "lr" in config:
            config.setdefault("learning_rate", config.pop("lr"))
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = schedules.deserialize(config["learning_rate"], custom_objects)
        return cls(**config)

    def __reduce__(self):
        # Slots belong to weights, so they travel with a model, not with the optimizer alone.
        return _restore, (type(self), self.get_config(), int(self.iterations))


def _restore(cls, config, iterations):
    optimizer = cls.from_config(config)
    optimizer.iterations = iterations
    return optimizer
