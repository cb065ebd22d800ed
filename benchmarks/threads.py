"""One thread for everything.  Import this before NumPy: BLAS reads it when it is loaded."""

import os

ONE_THREAD = dict.fromkeys(
    (
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "POLARS_MAX_THREADS",
    ),
    "1",
)
os.environ.update(ONE_THREAD)
