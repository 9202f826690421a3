"""The ``mex`` accessor: kernels on the variables and coordinates of xarray's objects, by name.

>>> import mexdask.xarray, numpy as np, xarray as xr
>>> ds = xr.Dataset({"u": ("x", [3.0, 5.0]), "v": ("x", [4.0, 12.0])})
>>> ds.mex.eval("speed = hypot(u, v)").speed.values
array([ 5., 13.])
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import xarray as xr

from mexdask import labelled
from mexdask.arguments import quoted
from mexdask.call import (
    Call,
    Kernel,
    Source,
    labelled_call,
    shadowing,
    with_params,
)
from mexdask.errors import ArgumentError
from mexdask.explanation import Explanation, Explanations
from mexdask.frontend.statements import assignments
from mexdask.labelled import AlignmentError as AlignmentError
from mexdask.scope import Scope, near_names, normalised
from mexdask.scope import UnboundError as UnboundError

Names = str | Sequence[Hashable] | None


@dataclass(frozen=True)
class Request:
    """What was asked for in one ``eval`` or ``explain``, the statement aside."""

    named: Mapping[str, Any]
    join: str | None
    keep_attrs: Any
    names: tuple[Hashable, ...] | None
    jit: str | None
    dtype: Any
    align: str
    on_error: str | None

    def call(self, kernel: Kernel, values: Mapping[str, Any]) -> tuple[Call, labelled.Labels]:
        """Return a checked call on plain arrays, and the labels of its results."""
        options = self.jit, self.dtype, self.align, self.on_error
        labels = {"join": self.join, "keep_attrs": self.keep_attrs}
        return labelled_call(kernel, values, *options, **labels)


class Accessor:
    """Run kernels on an xarray object, as its attribute ``mex``.

    Registered by ``import mexdask.xarray`` on Dataset, DataArray and DataTree.
    """

    def __init__(self, obj: Any):
        self._obj = obj

    def eval(
        self,
        statement: Source,
        /,
        *,
        names: Names = None,
        jit: str | None = None,
        dtype: Any = None,
        align: str = "rechunk",
        on_error: str | None = None,
        join: str | None = None,
        keep_attrs: Any = None,
        params: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> Any:
        """Run a kernel whose parameters are variables and coordinates, by name.

        In all that is not the computation it behaves as xarray's arithmetic: broadcasting by
        dimension, alignment, coordinates, attributes and name. Chunked variables give a lazy
        result, all others are computed at once.

        Parameters
        ----------
        statement : str or function or Kernel
            An expression; for a Dataset or DataTree also assignments, one below the other; or a
            kernel, as for `mexdask.apply`.
        names : str or sequence of hashable, optional
            Return a Dataset of the kernel's results under these names.
        jit, dtype, align, on_error
            As for `mexdask.apply`.
        join : {"inner", "outer", "left", "right", "exact", "override"}, optional
            How the indexes of DataArrays given by keyword are aligned; by default what
            ``arithmetic_join`` says among xarray's options.
        keep_attrs : bool, str or callable, optional
            As for `xarray.apply_ufunc`, but True is ``"drop_conflicts"`` as for operators: what all
            arguments with the attribute agree on. By default xarray's option ``keep_attrs``.
        params : mapping, optional
            Further arguments by name, for parameters that are called like an option.
        **named : array_like
            Arguments by name: scalars, DataArrays, Variables, and arrays that fit by position. They
            go before variables of the same name.

        Returns
        -------
        xarray.DataArray, xarray.Dataset, xarray.DataTree or tuple
            A DataArray for an expression or kernel, a tuple of them where a kernel has several
            results, a Dataset with `names`. For assignments the Dataset with its new variables. For
            a DataTree a tree, in which the nodes that hold the variables were worked on.

        Raises
        ------
        KernelSyntaxError, KernelTypeError
            If the statement is outside the language, or does not fit the dtypes.
        ArgumentError
            If a parameter has no argument, or one that no kernel takes.
        AlignmentError
            If arguments do not fit together; also an `xarray.AlignmentError`.
        KernelRuntimeError
            At computation, if an element makes the kernel fail.
        JITUnavailableError
            At computation, under ``jit="require"``, where there is no native code.

        Examples
        --------
        >>> import mexdask.xarray, xarray as xr
        >>> ds = xr.Dataset({"t": ("level", [280.0, 250.0])}, {"level": [1000.0, 500.0]})
        >>> ds.mex.eval("t * (p0 / level) ** 0.286", p0=1000.0).round(1).values
        array([280. , 304.8])
        """
        given = given_by_name(named, params)
        how = jit, dtype, align, on_error
        return self._run(statement, Request(given, join, keep_attrs, as_names(names), *how))

    def explain(
        self,
        statement: Source,
        /,
        *,
        names: Names = None,
        jit: str | None = None,
        dtype: Any = None,
        align: str = "rechunk",
        on_error: str | None = None,
        join: str | None = None,
        keep_attrs: Any = None,
        params: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> Explanation | Explanations:
        """Say how `eval` would run the same statement, and what it binds to the parameters.

        Parameters
        ----------
        statement, names, jit, dtype, align, on_error, join, keep_attrs, params, **named
            As for `eval`.

        Returns
        -------
        Explanation or Explanations
            Several by name for assignments, by path for a DataTree. Print it, or show it in a
            notebook.

        Examples
        --------
        >>> import mexdask.xarray, xarray as xr
        >>> ds = xr.Dataset({"t": ("level", [280.0, 250.0])}, {"level": [1000, 500]})
        >>> ds.mex.explain("t / level").bindings["level"]
        "coordinate 'level': (level: 2) int64"
        """
        given = given_by_name(named, params)
        how = jit, dtype, align, on_error
        return self._explain(statement, Request(given, join, keep_attrs, as_names(names), *how))

    def _run(self, statement: Source, request: Request) -> Any:
        raise NotImplementedError

    def _explain(self, statement: Source, request: Request) -> Explanation | Explanations:
        raise NotImplementedError


@xr.register_dataset_accessor("mex")
class DatasetAccessor(Accessor):
    """Run kernels on the variables and coordinates of a Dataset."""

    def _run(self, statement: Source, request: Request) -> Any:
        return on_dataset(self._obj, statement, request)

    def _explain(self, statement: Source, request: Request) -> Explanation | Explanations:
        return explained_on_dataset(self._obj, statement, request)


@xr.register_dataarray_accessor("mex")
class DataArrayAccessor(Accessor):
    """Run kernels on a DataArray and its coordinates.

    The array is the parameter that is called like it, else the first one that is neither given nor
    called like a coordinate.
    """

    @property
    def _scope(self) -> Scope:
        return Scope(self._obj.coords, self._obj)

    def _run(self, statement: Source, request: Request) -> Any:
        return evaluated(self._scope, statement, request)

    def _explain(self, statement: Source, request: Request) -> Explanation:
        return explained(self._scope, statement, request)


@xr.register_datatree_accessor("mex")
class DataTreeAccessor(Accessor):
    """Run kernels on those nodes of a DataTree that hold the variables."""

    def _run(self, statement: Source, request: Request) -> Any:
        nodes: list[UnboundError | None] = []

        def on_node(ds: Any) -> Any:
            try:
                result = on_dataset(ds, statement, request, in_tree=True)
            except UnboundError as error:
                nodes.append(error)
                return ds if is_assignment(statement) else xr.Dataset()
            nodes.append(None)
            return result

        tree = xr.map_over_datasets(on_node, self._obj)
        self._refuse_if_none(nodes)
        return tree

    def _explain(self, statement: Source, request: Request) -> Explanations:
        found, nodes = Explanations(), list[UnboundError | None]()
        for node in self._obj.subtree:
            try:
                here = explained_on_dataset(node.dataset, statement, request)
            except UnboundError as error:
                nodes.append(error)
                continue
            nodes.append(None)
            path = node.relative_to(self._obj)
            several = here if isinstance(here, Explanations) else {"": here}
            found.update({f"{path} {name}".strip(): one for name, one in several.items()})
        self._refuse_if_none(nodes)
        return found

    @staticmethod
    def _refuse_if_none(nodes: Sequence[UnboundError | None]) -> None:
        """Raise the error of the node that lacks least if no node holds the variables."""
        if None not in nodes:
            raise min((e for e in nodes if e is not None), key=lambda error: len(error.missing))


def is_assignment(statement: Source) -> bool:
    """Tell whether a statement is a text of assignments."""
    return isinstance(statement, str) and assignments(statement) is not None


def on_dataset(ds: Any, statement: Source, request: Request, *, in_tree: bool = False) -> Any:
    """Return what ``eval`` gives for a Dataset."""
    if not is_assignment(statement):
        return evaluated(Scope(ds), statement, request, in_tree=in_tree)
    steps = assigning_kernels(ds, str(statement), request)
    if len(steps) > 1:
        # What is wrong with the last line must come up before the first is computed.
        assigned(ds, steps, request, lambda call: call.stand_in())
    return assigned(ds, steps, request, lambda call: call.run())


def evaluated(scope: Scope, statement: Source, request: Request, *, in_tree: bool = False) -> Any:
    """Return a kernel's results: a DataArray, a tuple of them, or a Dataset of the names given.

    In a tree the results need names, if need be their own.
    """
    kernel = scope.kernel(statement, request.named)
    call, labels = request.call(kernel, scope.bound(kernel, request.named))
    names, count = request.names, len(call.specialisation.dtypes)
    if names is None and in_tree:
        if count > 1 or labels.name is None:
            raise ArgumentError(
                "the results have no names for the nodes of the tree; write an assignment, such as "
                "'speed = hypot(u, v)', or pass names=..."
            )
        names = (labels.name,)
    if names is not None and len(names) != count:
        counted = f"{count} result{'' if count == 1 else 's'}"
        raise ArgumentError(f"the kernel has {counted}, {len(names)} names were given")
    found = labels.attached(call.run())
    results = tuple(map(as_array, found if isinstance(found, tuple) else (found,)))
    if names is not None:
        return xr.Dataset(dict(zip(names, results, strict=True)))
    return results if count > 1 else results[0]


def as_array(result: Any) -> Any:
    """Return a result with coordinates, if it has none yet."""
    return result if isinstance(result, xr.DataArray) else xr.DataArray(result)


Step = tuple[str, Kernel]


def assigning_kernels(ds: Any, text: str, request: Request) -> list[Step]:
    """Return the kernels of assignments with their targets; everything given is used by one."""
    if request.names is not None:
        raise ArgumentError("names= is for kernels; an assignment names its result itself")
    steps: list[Step] = []
    names = {*Scope(ds).names, *request.named}
    for target, source in assignments(text) or ():
        steps.append((target, Kernel(source, given=shadowing(names))))
        names.add(target)
    parameters = {p for _, kernel in steps for p in kernel.parameters}
    for name in request.named:
        if name not in parameters:
            near = near_names(name, parameters)
            hint = f"; did you mean {' or '.join(map(quoted, near))}?" if near else ""
            raise ArgumentError(f"no assignment has a parameter {quoted(name)}{hint}")
    return steps


def assigned(
    ds: Any,
    steps: Sequence[Step],
    request: Request,
    results: Callable[[Call], Any],
    explanations: Explanations | None = None,
) -> Any:
    """Return a Dataset with the targets of assignments, in order; below its line a target wins."""
    given = dict(request.named)
    for target, kernel in steps:
        scope = Scope(ds)
        named = {name: value for name, value in given.items() if name in kernel.parameters}
        values = scope.bound(kernel, named)
        call, labels = request.call(kernel, values)
        if explanations is not None:
            explanations[target] = with_bindings(call, scope, values, named)
        ds = ds.assign({target: labels.attached(results(call))})
        given.pop(target, None)
    return ds


def explained(scope: Scope, statement: Source, request: Request) -> Explanation:
    """Return how a kernel would run."""
    kernel = scope.kernel(statement, request.named)
    values = scope.bound(kernel, request.named)
    call, _ = request.call(kernel, values)
    return with_bindings(call, scope, values, request.named)


def explained_on_dataset(
    ds: Any, statement: Source, request: Request
) -> Explanation | Explanations:
    """Return how a statement would run on a Dataset."""
    if not is_assignment(statement):
        return explained(Scope(ds), statement, request)
    found = Explanations()
    steps = assigning_kernels(ds, str(statement), request)
    assigned(ds, steps, request, lambda call: call.stand_in(), found)
    return next(iter(found.values())) if len(found) == 1 else found


def with_bindings(
    call: Call, scope: Scope, values: Mapping[str, Any], named: Mapping[str, Any]
) -> Explanation:
    """Return how a call would run, and what it got."""
    bindings = {name: scope.origin(name, value, named) for name, value in values.items()}
    return replace(call.explain(), bindings=bindings)


def given_by_name(named: Mapping[str, Any], params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return all arguments by name, as a text spells it."""
    return {normalised(n): value for n, value in with_params(named, params).items()}


def as_names(names: Names) -> tuple[Hashable, ...] | None:
    """Return the names for the results; a single one may stand by itself."""
    if names is None:
        return None
    try:
        found = (names,) if isinstance(names, str) else tuple(names)
        if len(set(found)) == len(found):
            return found
    except TypeError:
        pass
    raise ArgumentError(f"names={names!r} is not a name, or a list of different names")
