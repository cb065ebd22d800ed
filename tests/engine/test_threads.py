"""Threads: the number asked for, BLAS held to it, the same bits for any number."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
import timeit
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from mixedext.engine import fit as fit_module
from mixedext.engine import threads
from mixedext.engine.fit import evaluate_design, fit_design
from mixedext.engine.rows.design import prepare_design
from mixedext.specification.terms.random_terms import RandomTerm


@pytest.fixture(autouse=True)
def default(monkeypatch):
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    yield
    threads.set_num_threads(None)


def test_one_thread_unless_asked(monkeypatch):
    assert threads.get_num_threads() == 1
    monkeypatch.setenv(threads.VARIABLE, "3")
    assert threads.get_num_threads() == 3
    threads.set_num_threads(2)
    assert threads.get_num_threads() == 2
    threads.set_num_threads(None)
    assert threads.get_num_threads() == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, "two"])
def test_a_wrong_number_is_refused(value, monkeypatch):
    with pytest.raises(ValueError, match="n must be a whole number"):
        threads.set_num_threads(value)
    monkeypatch.setenv(threads.VARIABLE, str(value))
    with pytest.raises(ValueError, match=threads.VARIABLE):
        threads.get_num_threads()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_worker_processes_use_one(method, monkeypatch):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    monkeypatch.setenv(threads.VARIABLE, "4")
    threads.set_num_threads(4)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(threads.get_num_threads).result() == 1
    with context.Pool(1) as pool:
        assert pool.apply(threads.get_num_threads) == 1


@pytest.mark.slow
def test_joblib_workers_use_one(monkeypatch):
    joblib = pytest.importorskip("joblib")
    monkeypatch.setenv(threads.VARIABLE, "4")
    got = joblib.Parallel(2)(joblib.delayed(threads.get_num_threads)() for _ in range(2))
    assert got == [1, 1]


# Run apart, with BLAS free to use two threads from the start.
CHECK = """
import numpy as np, scipy.linalg, threading
from mixedext.engine import threads
libraries = threads._libraries()
assert libraries, "no BLAS found"
def numbers():
    return [get() for get, _ in libraries]
for _, put in libraries:
    put(2)
free = numbers()
if free != [2] * len(libraries):
    raise SystemExit(0)  # BLAS built without threads
with threads.blas_threads():
    assert numbers() == [1] * len(libraries), numbers()
    with threads.blas_threads():
        pass
    assert numbers() == [1] * len(libraries)
assert numbers() == free
threads.set_num_threads(2)
with threads.blas_threads():
    assert numbers() == [1] * len(libraries)
    with threads.blas_threads(1e12):
        assert numbers() == free
    assert numbers() == [1] * len(libraries)
threads.set_num_threads(None)
with threads.blas_threads(1e12):
    assert numbers() == [1] * len(libraries)
assert numbers() == free
# two fits at once, the first ends first: the second must not keep the first's limit
one, two = threading.Event(), threading.Event()
def first():
    with threads.blas_threads():
        one.set()
        two.wait()
worker = threading.Thread(target=first)
worker.start()
one.wait()
with threads.blas_threads():
    two.set()
    worker.join()
    assert numbers() == [1] * len(libraries)
assert numbers() == free
try:
    import threadpoolctl
except ImportError:
    pass
else:
    with threads.blas_threads():
        info = threadpoolctl.threadpool_info()
        assert all(i["num_threads"] == 1 for i in info if i["user_api"] == "blas"), info
"""


@pytest.mark.slow
def test_blas_is_held_to_the_number_and_set_back():
    run = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_threadpoolctl_serves_where_the_handles_show_nothing(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    monkeypatch.setattr(threads, "_SETTERS", ())
    found = threads._libraries.__wrapped__()
    info = threadpoolctl.threadpool_info()
    assert len(found) == sum(i["user_api"] == "blas" for i in info)
    for get, put in found:
        put(get())


def test_holding_blas_costs_little():
    def enter():
        with threads.blas_threads():
            pass

    enter()
    assert min(timeit.repeat(enter, number=200, repeat=20)) / 200 < 20e-6


def test_pieces_cover_everything_once():
    rng = np.random.default_rng(0)
    for n in (1, 5, 16, 1000):
        pieces = threads.split(rng.uniform(0, 2e6, n))
        assert [a for a, _ in pieces][1:] == [b for _, b in pieces][:-1]
        assert pieces[0][0] == 0
        assert pieces[-1][1] == n
        assert all(a < b for a, b in pieces)
    assert len(pieces) == threads.PIECES
    assert threads.split(np.ones(1000)) == [(0, 1000)]
    assert threads.split(np.zeros(0)) == [(0, 0)]


def test_pieces_run_in_several_threads_and_keep_their_order():
    threads.set_num_threads(3)
    barrier = threading.Barrier(3, timeout=20)

    def piece(first, last):
        barrier.wait()
        return first, last

    pieces = [(0, 1), (1, 2), (2, 3)]
    assert threads.run_pieces(piece, pieces) == pieces


@pytest.mark.parametrize("storage", ["dense", "supernodal"])
def test_results_do_not_depend_on_the_number_of_threads(storage, monkeypatch):
    monkeypatch.setattr(threads, "SMALL_WORK", 10.0)
    rng = np.random.default_rng(2)
    n = 4000
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    terms = [
        RandomTerm(rng.integers(0, 300, n), x, group="a"),
        RandomTerm(rng.integers(0, 40, n), x, group="b"),
        RandomTerm(rng.integers(0, 30, n), group="c"),
    ]
    y = rng.normal(size=n)
    got = []
    for count in (1, 2, 5):
        threads.set_num_threads(count)
        design = prepare_design(y, x, terms, storage=storage)
        objective = design.objective(True)
        theta = np.linspace(0.3, 1.0, objective.n_theta)
        value = objective.value(theta)
        tail = objective.factor.tail
        reduced = np.tril(tail.reduced) if storage == "dense" else tail.reduced.copy()
        derivatives = objective.derivatives(theta)
        assert len(tail.pieces) > 5
        got.append((reduced, value, derivatives.gradient, derivatives.hessian))
    for other in got[1:]:
        np.testing.assert_array_equal(got[0][0], other[0])
        for a, b in zip(got[0][1:], other[1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_a_whole_fit_is_the_same_with_two_threads(storage, monkeypatch):
    monkeypatch.setattr(threads, "SMALL_WORK", 1e4)
    rng = np.random.default_rng(5)
    n = 20_000
    codes = [rng.integers(0, size, n) for size in (3000, 300)]
    y = sum(rng.normal(size=3000)[code] for code in codes) + rng.normal(size=n)
    terms = [RandomTerm(code, group=f"g{i}") for i, code in enumerate(codes)]
    fits = []
    for count in (1, 2):
        threads.set_num_threads(count)
        fits.append(
            fit_design(prepare_design(y, np.ones((n, 1)), terms, None, storage), True)
        )
    one, two = fits
    assert len(one.objective.factor.tail.pieces) > 5
    assert one.deviance == two.deviance
    np.testing.assert_array_equal(one.theta, two.theta)
    np.testing.assert_array_equal(one.coefficients, two.coefficients)


def test_blas_is_held_during_a_whole_fit(monkeypatch):
    """The moments' products and the solves between evaluations, too."""
    depth = []
    plain = fit_module.inner_start

    def start(*args):
        depth.append(threads._BlasThreads._depth)
        return plain(*args)

    monkeypatch.setattr(fit_module, "inner_start", start)
    rng = np.random.default_rng(0)
    code = np.arange(60) // 6
    design = prepare_design(rng.normal(size=60), np.ones((60, 1)), [RandomTerm(code)])
    fit = fit_design(design, True)
    evaluate_design(design, True, fit.theta)
    assert depth == [1, 1]
    assert threads._BlasThreads._depth == 0
