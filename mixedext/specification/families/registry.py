"""Families by name or as statsmodels' instances."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from statsmodels.genmod import families as upstream

from mixedext.arguments import did_you_mean
from mixedext.specification.families.family import DEFAULT_LINKS, Family
from mixedext.specification.families.links import LINKS, link_of

__all__ = ["family_of"]

_OTHER_NAMES = {
    "bernoulli": "binomial",
    "inversegaussian": "inverse gaussian",
    "inverse.gaussian": "inverse gaussian",
    "inverse_gaussian": "inverse gaussian",
    "negativebinomial": "negative binomial",
    "negative_binomial": "negative binomial",
    "nbinom2": "negative binomial",
    "nb2": "negative binomial",
    "nb": "negative binomial",
    "negbin": "negative binomial",
    "negbinomial": "negative binomial",
    "nbinom": "negative binomial",
    "nbinom1": "nb1",
    "betabinomial": "beta binomial",
    "beta_binomial": "beta binomial",
    "normal": "gaussian",
}
_UNIT = ("logit", "probit", "cloglog", "loglog", "cauchy")
_POSITIVE = ("log", "identity", "sqrt", "inverse", "inverse_squared")
# Links of each law; powers and links of the user's own go with any.
_LINKS = {
    "binomial": (*_UNIT, "log", "identity"),
    "beta": _UNIT,
    "beta binomial": _UNIT,
    "gaussian": tuple(LINKS)[5:],
}
_KINDS = (
    (upstream.Binomial, "binomial"),
    (upstream.Poisson, "poisson"),
    (upstream.Gamma, "gamma"),
    (upstream.InverseGaussian, "inverse gaussian"),
    (upstream.NegativeBinomial, "negative binomial"),
    (upstream.Gaussian, "gaussian"),
)
_NOT_ORDINAL = (
    "ordinal responses are not available yet; statsmodels' OrderedModel has them without "
    "random effects"
)
_NOT_ZERO_INFLATED = (
    "zero inflation is not available yet; 'negative binomial', 'nb1' or an "
    "observation-level term (1 | row) take overdispersion, and statsmodels' "
    "ZeroInflatedPoisson has no random effects"
)
# Names without spaces and what stands for them.
_ELSEWHERE = {
    **dict.fromkeys(("ordinal", "ordered", "cumulative", "clm", "clmm"), _NOT_ORDINAL),
    **dict.fromkeys(("zeroinflatedpoisson", "zip", "zinb"), _NOT_ZERO_INFLATED),
    **dict.fromkeys(("zeroinflatednegativebinomial", "hurdle"), _NOT_ZERO_INFLATED),
    "multinomial": "multinomial responses are not available; statsmodels' MNLogit has them "
    "without random effects",
    "tweedie": "the Tweedie family is not available; use gamma, or a hurdle of two models",
    "quasibinomial": "quasi-families have no likelihood: use 'beta binomial', or an "
    "observation-level term (1 | row)",
    "quasipoisson": "quasi-families have no likelihood: use 'negative binomial' or 'nb1', "
    "or an observation-level term (1 | row)",
}


def family_of(family: Any, link: Any = None) -> Family:
    """A family from its name, ``"name(link)"``, or statsmodels' instance.

    Parameters
    ----------
    family : str or statsmodels family or Family
        The family.
    link : str or link, optional
        Its link, where ``family`` does not say it.

    Raises
    ------
    TypeError
        If it is a class in place of an instance, or no family.
    ValueError
        If there is no such family, or it does not have the link; lists what there is.

    Examples
    --------
    >>> from mixedext.specification.families.registry import family_of
    >>> family_of("binomial(probit)")
    binomial(probit)
    """
    if isinstance(family, Family):
        return family
    if isinstance(family, str):
        return _by_text(family, link)
    if isinstance(family, type):
        raise TypeError(
            f"family={family.__name__} is a class; give an instance: {family.__name__}()"
        )
    for kind, name in _KINDS:
        if isinstance(family, kind):
            kappa = None
            if name == "negative binomial":
                alpha = float(family.alpha)
                if not alpha > 0 or not np.isfinite(alpha):
                    raise ValueError(f"alpha={alpha:g} of the family must be positive")
                kappa = -float(np.log(alpha))
            return _checked(Family(name, link_of(family.link), kappa))
    if isinstance(family, upstream.Family):
        raise ValueError(
            f"the family {type(family).__name__} is not available; there are: "
            f"{', '.join(DEFAULT_LINKS)}"
        )
    raise TypeError(
        f"family={family!r} must be a name ({', '.join(DEFAULT_LINKS)}) or an instance of "
        "statsmodels' families, such as sm.families.Binomial()"
    )


def _by_text(text, link):
    match = re.fullmatch(
        r"\s*([\w .]+?)\s*(?:\(\s*(?:link\s*=)?\s*['\"]?([^()'\"]*)['\"]?\s*\))?\s*", text
    )
    if match is None:
        raise ValueError(f"family={text!r} cannot be read; write 'binomial(probit)'")
    name = match[1].strip().lower()
    name = _OTHER_NAMES.get(name, name)
    plain = re.sub(r"[\s._-]+", "", name)
    if name not in DEFAULT_LINKS:
        if plain in _ELSEWHERE:
            raise ValueError(f"family={text!r}: {_ELSEWHERE[plain]}")
        if plain in LINKS:
            law = "binomial" if plain in _UNIT else "gamma"
            raise ValueError(
                f"family={text!r} is a link, which stands after its family: "
                f"family='{law}({plain})'"
            )
        raise ValueError(
            f"family={text!r} is not known; there are: {', '.join(DEFAULT_LINKS)}"
            f"{did_you_mean(name, DEFAULT_LINKS)}"
        )
    if match[2]:
        link = match[2]
    return _checked(Family.of(name, link))


def _checked(family):
    name = family.link.name
    allowed = _LINKS.get(family.name, _POSITIVE)
    if name in LINKS and name not in allowed:
        raise ValueError(
            f"the family {family.name} does not have the link {name}; it has: "
            f"{', '.join(allowed)}"
        )
    return family
