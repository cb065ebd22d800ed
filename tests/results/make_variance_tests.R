# R's exact likelihood-ratio tests of variance components, draw by draw and as a whole.
# Rscript make_variance_tests.R OUTPUT.json   (R 4.2, lme4 1.1-31, RLRsim 3.1-8)
suppressMessages({library(lme4); library(RLRsim); library(jsonlite)})
quietly <- function(e) suppressMessages(suppressWarnings(e))
grid <- c(0, exp(seq(-10, 8, length = 199)))
out <- list(versions = list(R = R.version.string, lme4 = format(packageVersion("lme4")),
                            RLRsim = format(packageVersion("RLRsim"))))

keep <- setdiff(seq_len(180), c(3:9, 25, 26, 47:50, 61:70, 100, 133:139, 171))
sleep <- sleepstudy[keep, ]
pen <- Penicillin[setdiff(seq_len(144), c(2, 3, 5, 8:11, 40, 41, 77, 100:103)), ]
cases <- list(
  sleep_intercept = list(data = "sleepstudy", keep = keep, f = Reaction ~ Days + (1 | Subject)),
  sleep_slope = list(data = "sleepstudy", keep = keep, f = Reaction ~ Days + (0 + Days | Subject)),
  penicillin_sample = list(data = "penicillin", keep = as.integer(rownames(pen)), f = diameter ~ 1 + (1 | sample)))
frames <- list(sleepstudy = sleep, penicillin = pen)

for (nm in names(cases)) {
  cs <- cases[[nm]]; d <- frames[[cs$data]]
  m <- quietly(lmer(cs$f, d)); ml <- quietly(lmer(cs$f, d, REML = FALSE))
  X <- getME(m, "X"); Z <- t(as.matrix(getME(m, "Zt"))); K <- ncol(Z)
  mu <- svd(t(qr.resid(qr(X), Z)), nu = 0, nv = 0)$d^2
  xi <- svd(Z, nu = 0, nv = 0)$d^2
  top <- max(mu, xi)
  draws <- function(reml, n) {
    scale <- if (reml) max(mu) else top
    w <- NULL
    for (i in seq_len(n)) {
      r <- RLRsim:::RLRsimCpp(p = ncol(X), k = K, n = nrow(X), nsim = 1L, g = 200L, q = 0L,
        mu = as.double(mu / scale), lambda = grid, lambda0 = 0,
        xi = as.double((if (reml) mu else xi) / scale), REML = reml)
      w <- rbind(w, c(r$Chi1, r$ChiK, r$res))
    }
    w
  }
  set.seed(1)
  e <- quietly(exactRLRT(m, nsim = 200000, seed = 7))
  null <- lm(formula(sub("\\+? *\\(.*", "", deparse(cs$f))), d)
  l <- quietly(exactLRT(ml, null, nsim = 200000, seed = 7))
  out[[nm]] <- list(data = cs$data, keep = cs$keep - 1L, formula = deparse(cs$f),
    rows = nrow(X), rank = ncol(X), mu = mu, xi = xi,
    rlrt_draws = draws(TRUE, 60), lrt_draws = draws(FALSE, 60),
    rlrt = list(statistic = unname(e$statistic), p = e$p, quantiles = unname(quantile(e$sample, c(.75, .9, .95, .99))), zero = mean(e$sample == 0)),
    lrt = list(statistic = unname(l$statistic), p = l$p, quantiles = unname(quantile(l$sample, c(.75, .9, .95, .99))), zero = mean(l$sample == 0)))
}
# fixed effects tested at the same time
d <- sleep; d$noise <- as.numeric(seq_len(nrow(d)) %% 7)
ml <- quietly(lmer(Reaction ~ Days + noise + (1 | Subject), d, REML = FALSE))
two <- quietly(exactLRT(ml, lm(Reaction ~ Days, d), nsim = 200000, seed = 7))
dy <- quietly(exactLRT(lmer(diameter ~ sample + (1 | plate), Penicillin, REML = FALSE), lm(diameter ~ 1, Penicillin), nsim = 200000, seed = 7))
q <- c(.25, .5, .75, .9, .95, .99)
out$restricted <- list(
  sleep = list(statistic = unname(two$statistic), p = two$p, quantiles = unname(quantile(two$sample, q))),
  penicillin = list(statistic = unname(dy$statistic), p = dy$p, quantiles = unname(quantile(dy$sample, q))))
write(toJSON(out, digits = NA, auto_unbox = TRUE), commandArgs(TRUE)[1])
