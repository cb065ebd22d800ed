"""Verbal aggression"""

from importlib.resources import files

import numpy as np
import pandas as pd
from statsmodels.datasets.utils import process_pandas

from mixedext.datasets import _utils

COPYRIGHT = _utils.PUBLISHED
TITLE = __doc__
SOURCE = """De Boeck and Wilson (2004), Explanatory Item Response Models, Springer.

De Boeck, P. and Wilson, M. (2004). Explanatory Item Response Models: A Generalized Linear
and Nonlinear Approach. Springer, New York. Data of Vansteelandt, K. (2000), Formal Models
for Contextualized Personality Psychology, K. U. Leuven.

Also VerbAgg of the R package lme4.
"""

DESCRSHORT = "Answers of 316 persons to 24 items on verbal aggression"

DESCRLONG = """Every person said of every item, such as to want to curse when a bus
fails to stop, whether he or she would. Persons and items are crossed: the classic
example of a mixed model as an item response model."""

NOTE = """::

    Number of observations - 7584

    Number of variables - 9

    Variable name definitions::

        Anger      - score of trait anger
        Gender     - F or M
        item       - item, 24 levels
        resp       - answer: no, perhaps, yes
        id         - person, 316 levels
        btype      - behaviour: curse, scold, shout
        situ       - who is to blame: other, self
        mode       - want or do
        r2         - 1 if the answer was perhaps or yes, else 0

The file holds one row a person; rows of answers are made from it, in the order of lme4.
"""

_NAMES = """
S1WantCurse S1WantScold S1WantShout S2WantCurse S2WantScold S2WantShout S3WantCurse
S3WantScold S3WantShout S4wantCurse S4WantScold S4WantShout S1DoCurse S1DoScold
S1DoShout S2DoCurse S2DoScold S2DoShout S3DoCurse S3DoScold S3DoShout S4DoCurse
S4DoScold S4DoShout
"""
_ITEMS = _NAMES.split()
_FACTORS = {
    "Gender": ["F", "M"],
    "item": _ITEMS,
    "resp": ["no", "perhaps", "yes"],
    "id": [f"{i}" for i in range(1, 317)],
    "btype": ["curse", "scold", "shout"],
    "situ": ["other", "self"],
    "mode": ["want", "do"],
}


def load() -> _utils.Dataset:
    """Load the answers as a statsmodels Dataset.

    Returns
    -------
    Dataset
        With ``data``, ``endog``, ``exog``, ``names``, ``endog_name`` and
        ``exog_name``.

    Examples
    --------
    >>> from mixedext.datasets import verbagg
    >>> verbagg.load().data.shape
    (7584, 9)
    """
    path = files(__name__) / "verbagg.csv"
    with path.open(encoding="utf-8") as file:
        persons = pd.read_csv(file, dtype=str)
    answers = np.array([list(answer) for answer in persons["answers"]], dtype=int).T
    order = np.tile(np.arange(len(persons)), len(_ITEMS))
    item = np.repeat(np.arange(len(_ITEMS)), len(persons))
    situation, modes, behaviour = zip(*(_parts(name) for name in _ITEMS), strict=True)
    frame = pd.DataFrame(
        {
            "Anger": persons["Anger"].to_numpy(float)[order],
            "Gender": persons["Gender"].to_numpy()[order],
            "item": np.array(_ITEMS)[item],
            "resp": np.array(_FACTORS["resp"])[answers.ravel()],
            "id": persons["id"].to_numpy()[order],
            "btype": np.array(behaviour)[item],
            "situ": np.array(situation)[item],
            "mode": np.array(modes)[item],
            "r2": (answers.ravel() > 0).astype(float),
        }
    )
    data = frame.astype({name: pd.CategoricalDtype(_FACTORS[name]) for name in _FACTORS})
    return process_pandas(data, endog_idx=data.columns.get_loc("r2"))


def _parts(item: str) -> tuple[str, str, str]:
    """Situation, mode and behaviour that the name of an item says."""
    mode = "want" if item[2:].lower().startswith("want") else "do"
    return "other" if item[1] in "12" else "self", mode, item[2 + len(mode) :].lower()


load_pandas = load
