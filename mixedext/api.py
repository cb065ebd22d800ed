"""The public names of mixedext."""

from statsmodels.iolib.smpickle import load_pickle as load
from statsmodels.regression.mixed_linear_model import MixedLMParams, VCSpec

from mixedext import datasets
from mixedext.engine.optimize import Convergence
from mixedext.engine.refit import Refits
from mixedext.engine.threads import get_num_threads, set_num_threads
from mixedext.exceptions import (
    AdjustmentWarning,
    AlignmentWarning,
    BootstrapWarning,
    BoundaryWarning,
    DesignError,
    FlatLikelihoodWarning,
    FormulaError,
    MissingDataError,
    NestingWarning,
    NoGroupInterceptWarning,
    NotEstimableError,
    PrecisionWarning,
    RankDeficientWarning,
    UnidentifiedVarianceWarning,
    WeightsWarning,
)
from mixedext.model import MixedLM, mixedlm
from mixedext.parquet import read_parquet_model
from mixedext.results import MixedLMResults, MixedLMResultsWrapper
from mixedext.results_parts.bootstrap_replicates import Bootstrap
from mixedext.results_parts.bootstrap_tests import BootstrapTest, bootstrap_test
from mixedext.results_parts.linear_functions import Contrasts, MarginalMeans
from mixedext.results_parts.model_comparison import ModelTest, anova, model_table
from mixedext.specification.terms import RandomTerm, SparseTerm

__all__ = [
    "AdjustmentWarning",
    "AlignmentWarning",
    "Bootstrap",
    "BootstrapTest",
    "BootstrapWarning",
    "BoundaryWarning",
    "Contrasts",
    "Convergence",
    "DesignError",
    "FlatLikelihoodWarning",
    "FormulaError",
    "MarginalMeans",
    "MissingDataError",
    "MixedLM",
    "MixedLMParams",
    "MixedLMResults",
    "MixedLMResultsWrapper",
    "ModelTest",
    "NestingWarning",
    "NoGroupInterceptWarning",
    "NotEstimableError",
    "PrecisionWarning",
    "RandomTerm",
    "RankDeficientWarning",
    "Refits",
    "SparseTerm",
    "UnidentifiedVarianceWarning",
    "VCSpec",
    "WeightsWarning",
    "anova",
    "bootstrap_test",
    "datasets",
    "get_num_threads",
    "load",
    "mixedlm",
    "model_table",
    "read_parquet_model",
    "set_num_threads",
]
