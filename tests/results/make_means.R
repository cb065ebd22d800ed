## Estimated marginal means of tests/test_estimated_means.py: Rscript make_means.R
## R 4.2.2, lme4 1.1-31, lmerTest 3.1-3, pbkrtest 0.5.2, emmeans 1.8.4-1.
suppressPackageStartupMessages({library(lme4); library(emmeans); library(jsonlite)})
emm_options(msg.interaction = FALSE, msg.nesting = FALSE)
set.seed(20260511)
d <- expand.grid(a = c("a1", "a2", "a3"), b = c("b1", "b2"), g = paste0("g", 1:8), r = 1:2)
d <- d[-c(2, 5, 9, 14, 15, 33, 40, 41, 42, 60, 61, 70), ]
n <- nrow(d)
d$x <- round(rnorm(n, 5, 1.5), 2); d$z <- rep(c(0, 1, 1), length.out = n)
d$off <- round(runif(n), 2); d$w <- round(runif(n, .5, 2), 2); d$s <- paste0(d$b, d$a)
d$k <- rep(c(1, 2, 4, 8), length.out = n)
eta <- 1 + .3 * (d$a == "a2") + .2 * (d$b == "b2") + .05 * d$x + .02 * d$k
d$y <- round(exp(eta + rnorm(8, 0, .3)[as.integer(d$g)] + rnorm(n, 0, .2)), 3)
d$r <- NULL
write.csv(d, "data/unbalanced_factorial.csv", row.names = FALSE)
d <- read.csv("data/unbalanced_factorial.csv", stringsAsFactors = TRUE)
## a response that is known in every cell but a3:b2
empty <- d[!(d$a == "a3" & d$b == "b2"), ]
ctl <- lmerControl(optimizer = "nloptwrap",
  optCtrl = list(xtol_abs = 1e-13, xtol_rel = 0, ftol_abs = 1e-14, ftol_rel = 0, maxeval = 1e5),
  check.rankX = "silent.drop.cols")
models <- list(
  factorial = lmer(y ~ a * b + x + z + (1 | g), d, control = ctl),
  weighted = lmer(y ~ a * b + x + (1 | g), d, weights = w, control = ctl),
  offset = lmer(y ~ a + offset(off) + offset(log(x + 10)) + (1 | g), d, control = ctl),
  offset_argument = lmer(y ~ a + (1 | g), d, offset = off, control = ctl),
  log = lmer(log(y) ~ a * b + b * x + (1 | g), d, control = ctl),
  log_plus = lmer(log(y + 1) ~ a * b + (1 | g), d, control = ctl),
  log10 = lmer(log10(y) ~ a * b + (1 | g), d, control = ctl),
  sqrt = lmer(sqrt(y) ~ a * b + (1 | g), d, control = ctl),
  empty = lmer(y ~ a * b + x + (1 | g), empty, control = ctl),
  nested = lmer(y ~ b + b:s + x + (1 | g), d, control = ctl),
  six = lmer(y ~ s + x + (1 | g), d, control = ctl),
  poly = lmer(y ~ a * poly(x, 2) + (1 | g), d, control = ctl),
  steps = lmer(y ~ factor(k) * a + (1 | g), d, control = ctl))
cols <- function(t) { t <- as.data.frame(t)
  lapply(t, function(v) if (is.factor(v) || is.character(v)) as.character(v) else suppressWarnings(as.numeric(v))) }
show <- function(e, ...) { set.seed(1); cols(summary(e, infer = c(TRUE, TRUE), ...)) }
out <- list()
run <- function(name, expr) {
  expr <- substitute(expr)
  text <- gsub(" +", " ", paste(deparse(expr), collapse = " "))
  model <- sub("^.*?m\\$([a-z_0-9]+).*$", "\\1", text, perl = TRUE)
  for (method in c("asymptotic", "kenward-roger")) {
    if (method == "kenward-roger" && model == "weighted") next
    emm_options(lmer.df = method)
    out[[length(out) + 1]] <<- list(name = name, model = model, df_method = method, call = text, table = suppressMessages(suppressWarnings(eval(expr))))
  }
}
m <- models
run("equal", show(emmeans(m$factorial, "a")))
run("proportional", show(emmeans(m$factorial, "a", weights = "proportional")))
run("outer", show(emmeans(m$factorial, "a", weights = "outer")))
run("cells", show(emmeans(m$factorial, "a", weights = "cells")))
run("flat", show(emmeans(m$factorial, "a", weights = "flat")))
run("numbers", show(emmeans(m$factorial, "a", weights = c(1, 2, 3, 4))))
run("overall", show(emmeans(m$factorial, ~ 1)))
run("prior_weights", show(emmeans(m$weighted, "a", weights = "proportional")))
run("prior_weights_cells", show(emmeans(m$weighted, "b", weights = "cells")))
run("by_z", show(emmeans(m$factorial, "a", by = "z", weights = "proportional")))
run("two", show(emmeans(m$factorial, ~ a * b)))
run("at", show(emmeans(m$factorial, ~ x * a, at = list(x = c(4, 6), a = c("a3", "a1")))))
run("at_range", show(emmeans(m$factorial, ~ x, cov.reduce = range)))
run("at_z", show(emmeans(m$factorial, "a", at = list(z = 0.3), weights = "proportional")))
run("pairs_by", show(contrast(emmeans(m$factorial, ~ a | b), "pairwise")))
run("pairs_all", show(contrast(emmeans(m$factorial, ~ a | b), "pairwise", by = NULL)))
run("pairs_x", show(pairs(emmeans(m$factorial, ~ x, at = list(x = c(4, 6.5))))))
run("offset", show(emmeans(m$offset, "a")))
run("offset_argument", show(emmeans(m$offset_argument, "a")))
run("response", show(emmeans(m$log, "a"), type = "response"))
run("link", show(emmeans(m$log, "a")))
run("bias", show(emmeans(m$log, "a"), type = "response", bias.adjust = TRUE))
run("bias_sigma", show(emmeans(m$sqrt, "a"), type = "response", bias.adjust = TRUE, sigma = 0.5))
run("ratios", show(pairs(emmeans(m$log, "a")), type = "response"))
run("ratios_eff", show(contrast(emmeans(m$log, "a"), "eff"), type = "response"))
run("plus_means", show(emmeans(m$log_plus, "a"), type = "response"))
run("plus_ratios", show(pairs(emmeans(m$log_plus, "a")), type = "response"))
run("log10_means", show(emmeans(m$log10, "a"), type = "response"))
run("log10_ratios", show(pairs(emmeans(m$log10, "a")), type = "response"))
run("sqrt_means", show(emmeans(m$sqrt, "a"), type = "response"))
run("sqrt_pairs", show(pairs(emmeans(m$sqrt, "a")), type = "response"))
run("trends", show(emtrends(m$log, ~ b, var = "x")))
run("trends_pairs", show(pairs(emtrends(m$log, ~ b, var = "x"))))
run("trends_curve", show(emtrends(m$poly, ~ a | x, var = "x", at = list(x = c(3, 5)))))
run("curve", show(emmeans(m$poly, "a")))
run("steps", show(contrast(emmeans(m$steps, ~ k), "consec", adjust = "none")))
run("empty_cells", show(emmeans(m$empty, ~ a * b)))
run("empty_a", show(emmeans(m$empty, "a")))
run("empty_weights", show(emmeans(m$empty, "a", weights = "cells")))
run("empty_pairs", show(pairs(emmeans(m$empty, ~ a * b))))
run("empty_sidak", show(pairs(emmeans(m$empty, ~ a * b), adjust = "sidak")))
run("empty_holm", show(pairs(emmeans(m$empty, ~ a * b), adjust = "holm")))
run("empty_scheffe", show(pairs(emmeans(m$empty, ~ a * b), adjust = "scheffe")))
run("nested_b", show(emmeans(m$nested, "b")))
run("nested_prop", show(emmeans(m$nested, "b", weights = "proportional")))
run("nested_s", show(emmeans(m$nested, "s")))
run("nested_pairs", show(pairs(emmeans(m$nested, "s"))))
for (adjust in c("tukey", "sidak", "bonferroni", "holm", "hochberg", "hommel", "fdr", "BY", "scheffe", "dunnettx", "none")) {
  eval(substitute(run(paste0("six_pairwise_", adjust), show(contrast(emmeans(m$six, "s"), "pairwise", adjust = adjust))), list(adjust = adjust)))
  if (adjust != "tukey") eval(substitute(run(paste0("six_ctrl_", adjust), show(contrast(emmeans(m$six, "s"), "trt.vs.ctrl", adjust = adjust))), list(adjust = adjust)))
}
run("six_poly", show(contrast(emmeans(m$six, "s"), "poly")))
run("six_consec", show(contrast(emmeans(m$six, "s"), "consec", adjust = "none")))
run("six_mean_chg", show(contrast(emmeans(m$six, "s"), "mean_chg", adjust = "none")))
run("six_eff", show(contrast(emmeans(m$six, "s"), "eff")))
run("six_deleff", show(contrast(emmeans(m$six, "s"), "del.eff")))
run("six_identity", show(contrast(emmeans(m$six, "s"), "identity")))
run("six_ctrl_ref", show(contrast(emmeans(m$six, "s"), "trt.vs.ctrl", ref = 3)))
run("six_ctrl_refs", show(contrast(emmeans(m$six, "s"), "trt.vs.ctrl", ref = 1:2)))
run("six_rev", show(contrast(emmeans(m$six, "s"), "revpairwise")))
run("six_means_sidak", show(emmeans(m$six, "s"), adjust = "sidak"))
run("six_custom", show(contrast(emmeans(m$six, "s"), list(first = c(1, -1, 0, 0, 0, 0), mean = c(1, 1, 1, -1, -1, -1) / 3))))
run("null", cols(test(emmeans(m$six, "s"), null = 4)))
run("joint", cols(test(contrast(emmeans(m$factorial, ~ a | b), "consec"), joint = TRUE)))
run("joint_factorial", cols(joint_tests(m$factorial)))
run("joint_by", cols(joint_tests(m$factorial, by = "b")))
run("joint_log", cols(joint_tests(m$log)))
run("joint_empty", cols(joint_tests(m$empty)))
run("joint_nested", cols(joint_tests(m$nested)))
run("joint_steps", cols(joint_tests(m$steps)))
run("joint_poly", cols(joint_tests(m$poly)))
write(toJSON(list(made_with = list(R = R.version.string, lme4 = as.character(packageVersion("lme4")), pbkrtest = as.character(packageVersion("pbkrtest")), emmeans = as.character(packageVersion("emmeans"))),
  formulas = lapply(models, function(m) list(formula = paste(deparse(formula(m)), collapse = " "), logLik = as.numeric(logLik(m)))), cases = out), digits = NA, auto_unbox = TRUE, na = "null", pretty = FALSE), "means.json")
