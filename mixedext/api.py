"""The public names of mixedext."""

from statsmodels.iolib.smpickle import load_pickle as load
from statsmodels.regression.mixed_linear_model import MixedLMParams, VCSpec

from mixedext import datasets
from mixedext.analysis_of_variance import AnovaEstimates, anova_estimates
from mixedext.engine.optimize import Convergence
from mixedext.engine.refit import Refits
from mixedext.engine.threads import get_num_threads, set_num_threads
from mixedext.exceptions import (
    AdjustmentWarning,
    AlignmentWarning,
    BootstrapWarning,
    BoundaryWarning,
    ClusterWarning,
    ConvergenceError,
    DesignError,
    FlatLikelihoodWarning,
    FormulaError,
    InformationWarning,
    LowerDevianceWarning,
    MissingDataError,
    NestingWarning,
    NoExactLawError,
    NoGroupInterceptWarning,
    NotEstimableError,
    NotEstimableWarning,
    PrecisionWarning,
    RankDeficientWarning,
    ResponseWarning,
    UnidentifiedVarianceWarning,
    WeightsWarning,
)
from mixedext.inference.variance_test import VarianceTest
from mixedext.inference.welch import WelchTest
from mixedext.model import MixedLM, mixedlm
from mixedext.parquet import read_parquet_model
from mixedext.regressions_by_group import LmList, PoolabilityTest, lm_list
from mixedext.results import MixedLMResults, MixedLMResultsWrapper
from mixedext.results_parts.bootstrap_replicates import Bootstrap
from mixedext.results_parts.bootstrap_tests import BootstrapTest, bootstrap_test
from mixedext.results_parts.comparison_tables import anova, model_table
from mixedext.results_parts.linear_functions import Contrasts, MarginalMeans
from mixedext.results_parts.model_comparison import ModelTest
from mixedext.results_parts.profiles import LikelihoodProfile
from mixedext.results_parts.variance_tests import exact_lrt, exact_rlrt
from mixedext.specification.terms import RandomTerm, SparseTerm

__all__ = [
    "AdjustmentWarning",
    "AlignmentWarning",
    "AnovaEstimates",
    "Bootstrap",
    "BootstrapTest",
    "BootstrapWarning",
    "BoundaryWarning",
    "ClusterWarning",
    "Contrasts",
    "Convergence",
    "ConvergenceError",
    "DesignError",
    "FlatLikelihoodWarning",
    "FormulaError",
    "InformationWarning",
    "LikelihoodProfile",
    "LmList",
    "LowerDevianceWarning",
    "MarginalMeans",
    "MissingDataError",
    "MixedLM",
    "MixedLMParams",
    "MixedLMResults",
    "MixedLMResultsWrapper",
    "ModelTest",
    "NestingWarning",
    "NoExactLawError",
    "NoGroupInterceptWarning",
    "NotEstimableError",
    "NotEstimableWarning",
    "PoolabilityTest",
    "PrecisionWarning",
    "RandomTerm",
    "RankDeficientWarning",
    "Refits",
    "ResponseWarning",
    "SparseTerm",
    "UnidentifiedVarianceWarning",
    "VCSpec",
    "VarianceTest",
    "WeightsWarning",
    "WelchTest",
    "anova",
    "anova_estimates",
    "bootstrap_test",
    "datasets",
    "exact_lrt",
    "exact_rlrt",
    "get_num_threads",
    "lm_list",
    "load",
    "mixedlm",
    "model_table",
    "read_parquet_model",
    "set_num_threads",
]
