# Small-sample tests of models on the data beside this script, some rows left out:
#     Rscript make_small_sample.R > small_sample.json
# Made with R 4.2.2, lme4 1.1-31, lmerTest 3.1-3, pbkrtest 0.5.2, nlme 3.1-162.
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(jsonlite)})
control <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e5),
                       calc.derivs = FALSE)
rows <- function(n, by, modulus, out) !((seq_len(n) * by) %% modulus %in% out)
read <- function(name, factors) {
  d <- read.csv(file.path("data", paste0(name, ".csv")), stringsAsFactors = TRUE)
  for (f in factors) d[[f]] <- factor(d[[f]])
  d$x <- ((seq_len(nrow(d)) * 37) %% 11) / 11
  d
}
cases <- list(
  split_plot = list("Oats", c("nitroF", "Variety", "Block"), c(7, 10), c(0, 3),
    yield ~ nitroF * Variety + (1 | Block / Variety)),
  strip_plot = list("cake", c("recipe", "temperature", "replicate"), c(7, 11), c(0, 4, 9),
    angle ~ recipe * temperature + (1 | replicate) + (1 | replicate:recipe) +
      (1 | replicate:temperature)),
  incomplete_blocks = list("Penicillin", c("plate", "sample"), c(5, 7), c(0, 1, 2),
    diameter ~ sample + (1 | plate)),
  nested = list("Pastes", c("batch", "cask"), c(7, 10), c(0, 3),
    strength ~ x + (1 | batch / cask)),
  nested_covariate = list("eggs", c("Lab", "Technician", "Sample"), c(5, 13), c(1, 2),
    Fat ~ x + (1 | Lab / Technician / Sample)),
  slopes = list("sleepstudy", "Subject", c(7, 11), c(0, 3, 4),
    Reaction ~ Days + (Days | Subject)),
  quadratic = list("sleepstudy", "Subject", c(7, 11), c(0, 3),
    Reaction ~ Days + I(Days^2) + (Days + I(Days^2) | Subject)),
  uncorrelated = list("sleepstudy", "Subject", c(7, 13), c(0, 3),
    Reaction ~ Days + x + (Days + x || Subject)),
  factor_slopes = list("Machines", c("Worker", "Machine"), c(5, 13), c(1, 2),
    score ~ Machine + x + (Machine | Worker)),
  crossed = list("Penicillin", c("plate", "sample"), c(5, 7), 0,
    diameter ~ x + (1 | plate) + (1 | sample)),
  crossed_slopes = list("Penicillin", c("plate", "sample"), c(5, 7), 0,
    diameter ~ x + (x | plate) + (x | sample)),
  zero_variance = list("cake", c("recipe", "temperature", "replicate"), c(7, 11), 0,
    angle ~ temp + (1 | recipe:replicate) + (1 | recipe)),
  correlation_one = list("Orthodont", c("Subject", "Sex"), c(3, 4), 0,
    distance ~ age + (age | Subject)),
  correlation_one_crossed = list("cake", c("recipe", "temperature", "replicate"), c(7, 11), 0,
    angle ~ recipe + I(temp / 10 - 20) + (I(temp / 10 - 20) | replicate) +
      (1 | recipe:replicate))
)
out <- list()
for (name in names(cases)) {
  case <- cases[[name]]
  d <- read(case[[1]], case[[2]])
  d <- d[rows(nrow(d), case[[3]][1], case[[3]][2], case[[4]]), ]
  res <- list(data = case[[1]], factors = case[[2]], by = case[[3]][1], modulus = case[[3]][2],
              left_out = I(case[[4]]), formula = paste(deparse(case[[5]], 500), collapse = ""))
  for (reml in c(TRUE, FALSE)) {
    m <- lmerTest::lmer(case[[5]], d, REML = reml, control = control)
    p <- length(fixef(m))
    joint <- diag(p)[-1, , drop = FALSE]
    key <- if (reml) "reml" else "ml"
    s <- coef(summary(m, ddf = "Satterthwaite"))
    ct <- contest(m, joint, joint = TRUE, ddf = "Satterthwaite")
    r <- list(names = I(names(fixef(m))), criterion = as.numeric(-2 * logLik(m)),
              singular = isSingular(m), theta = I(unname(getME(m, "theta"))), sigma = sigma(m),
              beta = I(unname(fixef(m))), satterthwaite = I(unname(s[, "df"])),
              satterthwaite_joint = I(c(ct[["F value"]], ct[["NumDF"]], ct[["DenDF"]], ct[["Pr(>F)"]])))
    if (reml) {
      r$kr_cov <- unname(as.matrix(vcovAdj(m)))
      r$kr_df <- I(sapply(seq_len(p), function(j) Lb_ddf(diag(p)[j, ], vcov(m), vcovAdj(m))))
      k <- getKR(KRmodcomp(m, joint))
      r$kr_joint <- I(c(k$Fstat, k$ndf, k$ddf, k$p.value, k$F.scaling))
    }
    res[[key]] <- r
  }
  out[[name]] <- res
}
# nlme's degrees of freedom of fixed effects
suppressMessages(library(nlme))
inner_outer <- list(
  list("Oats", c("nitroF", "Variety", "Block"), yield ~ nitroF * Variety, ~ 1 | Block/Variety,
    "yield ~ nitroF * Variety + (1 | Block/Variety)"),
  list("Machines", c("Worker", "Machine"), score ~ Machine + x, ~ 1 | Worker/Machine,
    "score ~ Machine + x + (1 | Worker/Machine)"),
  list("Machines", c("Worker", "Machine"), score ~ Machine - 1, ~ 1 | Worker,
    "score ~ Machine - 1 + (1 | Worker)"),
  list("Machines", c("Worker", "Machine"), score ~ Machine - 1, ~ 1 | Worker/Machine,
    "score ~ Machine - 1 + (1 | Worker/Machine)"),
  list("Orthodont", c("Subject", "Sex"), distance ~ Sex - 1, ~ 1 | Subject,
    "distance ~ Sex - 1 + (1 | Subject)"),
  list("Orthodont", c("Subject", "Sex"), distance ~ Sex * age, ~ age | Subject,
    "distance ~ Sex * age + (age | Subject)"),
  list("Pastes", c("batch", "cask"), strength ~ x, ~ 1 | batch/cask,
    "strength ~ x + (1 | batch/cask)"),
  list("beets", c("block", "harvest", "sow"), sugpct ~ block + sow + harvest,
    ~ 1 | block/harvest, "sugpct ~ block + sow + harvest + (1 | block/harvest)")
)
out$nlme <- lapply(inner_outer, function(case) {
  d <- read(case[[1]], case[[2]])
  m <- lme(case[[3]], d, random = case[[4]], control = lmeControl(opt = "optim", returnObject = TRUE))
  list(data = case[[1]], factors = I(case[[2]]), formula = case[[5]], df = I(unname(m$fixDF$X)))
})
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = FALSE))
