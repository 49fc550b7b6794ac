"""Cells upon each other as one cell."""

import inspect

from gpunet import registry
from gpunet.layers.base import Layer, placeholders
from gpunet.layers.recurrent.nesting import as_list, flat_sizes, nested_config, zero_states
from gpunet.nest import flatten
from gpunet.registry import layers as registered
from gpunet.tensor import Shape

__all__ = ["StackedRNNCells"]


@registered.register()
class StackedRNNCells(Layer):
    """One step of several cells, each fed by the one before.

    Args:
        cells: list of cells; see `RNN`.
        **kwargs: ``reverse_state_order`` (states of the last cell first); see `Layer`.

    Raises:
        ValueError: a cell without ``call`` or ``state_size``.
    """

    def __init__(self, cells, **kwargs):
        self.reverse_state_order = bool(kwargs.pop("reverse_state_order", False))
        super().__init__(**kwargs)
        for cell in cells:
            for needed in ("call", "state_size"):
                if not hasattr(cell, needed):
                    raise ValueError(f"{self._who}: expected cells with {needed!r}, got {cell!r}")
        self.cells = list(cells)

    def _ordered(self, parts):
        """Return one part for each cell in the order of the states, or back again."""
        return list(parts)[::-1] if self.reverse_state_order else list(parts)

    @property
    def state_size(self):
        """List of the cells' state sizes."""
        return self._ordered(cell.state_size for cell in self.cells)

    @property
    def output_size(self):
        """Size of the last cell's output."""
        return _output_size(self.cells[-1])

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        """Return the states that each cell starts with."""
        batch = batch_size if inputs is None else inputs.shape[0]
        states = []
        for cell in self.cells:
            make = getattr(cell, "get_initial_state", None)
            if make is None:
                states.append(zero_states(cell.state_size, batch, dtype))
            else:
                states.append(make(inputs=None, batch_size=batch, dtype=dtype))
        return self._ordered(states)

    def build(self, input_shape):
        shape = input_shape
        for cell in self.cells:
            if isinstance(cell, Layer):
                cell._build_if_needed(placeholders(shape, cell.dtype))
            batch = flatten(shape)[0]
            sizes = [Shape((batch, *size)) for size in flat_sizes(_output_size(cell))]
            shape = sizes[0] if len(sizes) == 1 else sizes
        self.built = True

    def call(self, inputs, states, constants=None, training=None, **kwargs):
        made = []
        for cell, state in zip(self.cells, self._ordered(states), strict=True):
            parameters = inspect.signature(cell.call).parameters
            given = {"constants": constants, "training": training}
            options = {k: v for k, v in given.items() if k in parameters}
            inputs, state = cell.call(inputs, as_list(state), **options, **kwargs)
            made.append(as_list(state))
        return inputs, self._ordered(made)

    def can_scan(self):
        """Return whether every cell can walk over all steps at once."""
        return all(hasattr(cell, "scan") and cell.can_scan() for cell in self.cells)

    def scan(self, x, states, mask, training, sequences=False, **options):
        """Walk each cell over all steps; see `GatedCell.scan`."""
        states = [None] * len(self.cells) if states is None else states
        made = []
        for cell, state in zip(self.cells, self._ordered(states), strict=True):
            whole = sequences or cell is not self.cells[-1]
            x, state = cell.scan(x, state, mask, training, sequences=whole, **options)
            # Outputs come in the order of the walk, which the next cell follows.
            mask = mask if not options["reverse"] or mask is None else mask[::-1]
            options = {**options, "reverse": False}
            made.append(state)
        return x, self._ordered(made)

    def get_config(self):
        cells = [nested_config(cell) for cell in self.cells]
        config = {**self._base_config(), "cells": cells}
        return config | ({"reverse_state_order": True} if self.reverse_state_order else {})

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make a layer from what `get_config` returned."""
        config = dict(config)
        cells = [registry.layers.deserialize(c, custom_objects) for c in config.pop("cells")]
        return cls(cells, **config)


def _output_size(cell):
    size = getattr(cell, "output_size", None)
    return as_list(cell.state_size)[0] if size is None else size
