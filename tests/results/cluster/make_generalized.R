# Cluster-robust standard errors (CR0) of generalized models, from the exact gradients that
# glmmTMB has of the log-likelihoods of single clusters.
#     Rscript make_generalized.R > generalized.json
suppressMessages({library(glmmTMB); library(lme4); library(jsonlite)})

sandwich_of <- function(formula, data, family, cluster, weights = NULL) {
  data$.w <- if (is.null(weights)) 1 else weights
  environment(formula) <- environment()
  control <- glmmTMBControl(rank_check = "skip", conv_check = "skip")
  objective <- function(rows) {
    part <- glmmTMB(formula, rows, family, weights = .w, control = control, doFit = FALSE)
    with(part, TMB::MakeADFun(data.tmb, parameters, map = mapArg, random = randomArg,
                              silent = TRUE, DLL = "glmmTMB",
                              inner.control = list(tol = 1e-14, tol10 = 0)))
  }
  whole <- objective(data)
  par <- suppressWarnings(nlminb(whole$par, whole$fn, whole$gr,
                control = list(iter.max = 1e4, eval.max = 1e4)))$par
  slope <- function(x) as.vector(whole$gr(x))
  curvature <- function(x, d = 1e-3) {
    h <- sapply(seq_along(x), function(j) {
      e <- replace(0 * x, j, d)
      (45 * (slope(x + e) - slope(x - e)) - 9 * (slope(x + 2 * e) - slope(x - 2 * e)) +
         slope(x + 3 * e) - slope(x - 3 * e)) / (60 * d)
    })
    (h + t(h)) / 2
  }
  for (i in 1:6) par <- par - solve(curvature(par), slope(par))
  bread <- solve(curvature(par))
  score <- t(sapply(split(seq_len(nrow(data)), data[[cluster]]), function(at)
    as.vector(objective(data[at, ])$gr(par))))
  stopifnot(max(abs(colSums(score) - slope(par))) < 1e-8)
  list(parameters = names(par), estimate = unname(par), llf = -whole$fn(par),
       nonrobust = sqrt(diag(bread)), n_clusters = nrow(score),
       CR0 = sqrt(diag(bread %*% crossprod(score) %*% bread)))
}

# columns, since not every cluster has all levels of a factor
cattle <- transform(cbpp, p2 = +(period == 2), p3 = +(period == 3), p4 = +(period == 4))
ticks <- transform(grouseticks, y96 = +(YEAR == 96), y97 = +(YEAR == 97))
shares <- incidence / size ~ p2 + p3 + p4 + (1 | herd)
counts <- TICKS ~ y96 + y97 + cHEIGHT + (1 | LOCATION)
cases <- list(
  logit = sandwich_of(shares, cattle, binomial(), "herd", cattle$size),
  probit = sandwich_of(shares, cattle, binomial("probit"), "herd", cattle$size),
  nested = sandwich_of(update(counts, . ~ . + (1 | BROOD)), ticks, poisson(), "LOCATION"),
  negative_binomial = sandwich_of(counts, ticks, nbinom2(), "LOCATION")
)
cat(toJSON(c(list(made_with = paste(R.version.string, "glmmTMB", packageVersion("glmmTMB"))), cases),
           digits = 14, auto_unbox = TRUE, pretty = TRUE))
