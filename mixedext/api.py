"""The public names of mixedext."""

from statsmodels.iolib.smpickle import load_pickle as load
from statsmodels.regression.mixed_linear_model import MixedLMParams, VCSpec

from mixedext import datasets
from mixedext.engine.search.verdict import Convergence
from mixedext.engine.threads import get_num_threads, set_num_threads
from mixedext.exceptions import (
    AdjustmentWarning,
    AlignmentWarning,
    BootstrapWarning,
    BoundaryWarning,
    CategoryWarning,
    ClusterWarning,
    ConfidenceLevelWarning,
    ConvergenceError,
    DenseMatrixWarning,
    DesignError,
    DevianceError,
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
    OffsetWarning,
    PowerWarning,
    PrecisionWarning,
    RankDeficientWarning,
    ResidualFallbackWarning,
    ResidualLimitWarning,
    ResponseWarning,
    SeparationWarning,
    SimulationWarning,
    StructureWarning,
    UnidentifiedCovarianceError,
    UnidentifiedVarianceWarning,
    WeightsWarning,
)
from mixedext.fitted import Fitted
from mixedext.inference.bootstrap.bootstrap_result import Bootstrap
from mixedext.inference.bootstrap.bootstrap_tests import BootstrapTest, bootstrap_test
from mixedext.inference.bootstrap.simulated_refits import Refits
from mixedext.inference.comparison.drop_terms import Step
from mixedext.inference.comparison.model_comparison import ModelTest
from mixedext.inference.comparison.model_tables import anova, model_table
from mixedext.inference.diagnostics.mixed_influence import MixedInfluence
from mixedext.inference.fixed_effects.coefficients import FixedEffectsInference
from mixedext.inference.means.linear_functions import Contrasts, MarginalMeans
from mixedext.inference.means.reference_grid import ReferenceGrid
from mixedext.inference.prediction.bootstrap_prediction import BootstrapPrediction
from mixedext.inference.prediction.new_modes import NewModes
from mixedext.inference.prediction.prediction_result import MixedPrediction
from mixedext.inference.profile.likelihood_profile import LikelihoodProfile
from mixedext.inference.variances.exact_tests import exact_lrt, exact_rlrt
from mixedext.inference.variances.icc_and_r2 import (
    IntraclassCorrelation,
    NakagawaR2,
)
from mixedext.inference.variances.variance_test_result import VarianceTest
from mixedext.models.anova_estimates.model import AnovaEstimates, anova_estimates
from mixedext.models.glmm.model import MixedGLM, glmm
from mixedext.models.glmm.results import MixedGLMResults, MixedGLMResultsWrapper
from mixedext.models.lm_list.poolability import PoolabilityTest
from mixedext.models.lm_list.regressions import LmList, lm_list
from mixedext.models.lm_list.welch import WelchTest
from mixedext.models.mixedlm.model import MixedLM, mixedlm
from mixedext.models.mixedlm.parquet import read_parquet_model
from mixedext.models.mixedlm.results import MixedLMResults, MixedLMResultsWrapper
from mixedext.models.planning.power import power
from mixedext.models.planning.power_result import Power
from mixedext.models.planning.simulated import simulate
from mixedext.reporting.sentences import Report
from mixedext.reporting.side_by_side import SummaryTable, summary_table
from mixedext.session import option_context, options
from mixedext.specification.covariance.residual_objects import (
    AR1,
    ARMA,
    CAR1,
    CS,
    Antedependence,
    Independent,
    Spatial,
    Toeplitz,
    Unstructured,
)
from mixedext.specification.covariance.variance_objects import (
    VarConstPower,
    VarExp,
    VarFixed,
    VarIdent,
    VarPower,
)
from mixedext.specification.terms.random_terms import RandomTerm, SparseTerm
from mixedext.tables.noted_table import NotedTable
from mixedext.tables.statistical_tests import TestResult

__all__ = [
    "AR1",
    "ARMA",
    "CAR1",
    "CS",
    "AdjustmentWarning",
    "AlignmentWarning",
    "AnovaEstimates",
    "Antedependence",
    "Bootstrap",
    "BootstrapPrediction",
    "BootstrapTest",
    "BootstrapWarning",
    "BoundaryWarning",
    "CategoryWarning",
    "ClusterWarning",
    "ConfidenceLevelWarning",
    "Contrasts",
    "Convergence",
    "ConvergenceError",
    "DenseMatrixWarning",
    "DesignError",
    "DevianceError",
    "Fitted",
    "FixedEffectsInference",
    "FlatLikelihoodWarning",
    "FormulaError",
    "Independent",
    "InformationWarning",
    "IntraclassCorrelation",
    "LikelihoodProfile",
    "LmList",
    "LowerDevianceWarning",
    "MarginalMeans",
    "MissingDataError",
    "MixedGLM",
    "MixedGLMResults",
    "MixedGLMResultsWrapper",
    "MixedInfluence",
    "MixedLM",
    "MixedLMParams",
    "MixedLMResults",
    "MixedLMResultsWrapper",
    "MixedPrediction",
    "ModelTest",
    "NakagawaR2",
    "NestingWarning",
    "NewModes",
    "NoExactLawError",
    "NoGroupInterceptWarning",
    "NotEstimableError",
    "NotEstimableWarning",
    "NotedTable",
    "OffsetWarning",
    "PoolabilityTest",
    "Power",
    "PowerWarning",
    "PrecisionWarning",
    "RandomTerm",
    "RankDeficientWarning",
    "ReferenceGrid",
    "Refits",
    "Report",
    "ResidualFallbackWarning",
    "ResidualLimitWarning",
    "ResponseWarning",
    "SeparationWarning",
    "SimulationWarning",
    "SparseTerm",
    "Spatial",
    "Step",
    "StructureWarning",
    "SummaryTable",
    "TestResult",
    "Toeplitz",
    "UnidentifiedCovarianceError",
    "UnidentifiedVarianceWarning",
    "Unstructured",
    "VCSpec",
    "VarConstPower",
    "VarExp",
    "VarFixed",
    "VarIdent",
    "VarPower",
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
    "glmm",
    "lm_list",
    "load",
    "mixedlm",
    "model_table",
    "option_context",
    "options",
    "power",
    "read_parquet_model",
    "set_num_threads",
    "simulate",
    "summary_table",
]
