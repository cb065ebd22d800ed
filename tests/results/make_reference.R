# Reference values for linear mixed models, computed with R.  See README.md for the schema.
# ---------------------------------------------------------------------------
# Part 1: the library (the same text in every directory that holds references)
# ---------------------------------------------------------------------------
# Usage, in the directory of this file:
#   Rscript make_reference.R            all cases
#   Rscript make_reference.R CASE ...   only the named cases
# Reads data/*.csv(.gz), writes models/CASE.json.  Nothing else is read or written.
Sys.setenv(OPENBLAS_NUM_THREADS = "1", OMP_NUM_THREADS = "1")
invisible(Sys.setlocale("LC_COLLATE", "C"))
options(width = 200, warn = 1, contrasts = c("contr.treatment", "contr.poly"))
suppressMessages({
  library(lme4); library(lmerTest); library(pbkrtest); library(RLRsim)
  library(emmeans); library(nlme); library(jsonlite); library(Matrix)
})
lmer <- lme4::lmer            # lmerTest masks it; the conversion is done explicitly below
lmList4 <- lme4::lmList
emm_options(msg.interaction = FALSE, msg.nesting = FALSE, lmerTest.limit = 1e5, pbkrtest.limit = 5000)
NSIM <- as.integer(Sys.getenv("REF_NSIM", "1000000"))
ONLY <- commandArgs(trailingOnly = TRUE)
pkgver <- function(...) { p <- c(...); setNames(vapply(p, function(x) as.character(packageVersion(x)), ""), p) }

## ---- helpers ---------------------------------------------------------------
A <- function(x) if (is.null(x)) I(list()) else I(unname(x))   # always a JSON array
quietly <- function(expr) suppressWarnings(suppressMessages(expr))
safely <- function(expr) tryCatch(quietly(expr), error = function(e)
  list(error = gsub("[\r\n]+", " ", conditionMessage(e))))
vecsum <- function(x, full = 600L) {
  x <- unname(as.numeric(x)); n <- length(x); tr <- n > full
  list(n = n, truncated = tr, values = A(if (tr) x[1:10] else x), sum = sum(x), sumsq = sum(x^2))
}
mat <- function(m) { m <- as.matrix(m); dimnames(m) <- NULL; storage.mode(m) <- "double"; I(m) }
as_cols <- function(df) {                           # data frame -> object of columns
  df <- as.data.frame(df); out <- lapply(df, function(z) A(if (is.factor(z)) as.character(z) else z))
  names(out) <- names(df); out
}
tab <- function(t) {                                # anova-like table: row names + columns
  t <- as.data.frame(t); out <- list(rows = A(rownames(t)))
  for (j in seq_along(t)) out[[names(t)[j]]] <- A(if (is.factor(t[[j]])) as.character(t[[j]]) else t[[j]])
  out
}
fstr <- function(f) paste(trimws(deparse(f, width.cutoff = 500L)), collapse = " ")

read_data <- function(file, factors = list()) {
  path <- file.path("data", file)
  d <- read.csv(if (grepl("\\.gz$", path)) gzfile(path) else path, stringsAsFactors = FALSE,
                check.names = FALSE, encoding = "UTF-8")
  for (v in names(d)) if (is.character(d[[v]]) && is.null(factors[[v]])) factors[[v]] <- NA
  for (v in names(factors)) {
    lv <- factors[[v]]
    if (length(lv) == 1 && is.na(lv)) lv <- sort(unique(d[[v]][!is.na(d[[v]])]))
    d[[v]] <- factor(as.character(d[[v]]), levels = as.character(lv))
  }
  d
}
factor_info <- function(d, vars) {
  out <- list()
  for (v in intersect(vars, names(d))) if (is.factor(d[[v]])) {
    l <- levels(d[[v]])
    out[[v]] <- list(nlevels = length(l), levels = A(if (length(l) > 200) l[1:10] else l), truncated = length(l) > 200)
  }
  out
}

## ---- the optimizer: several starts, then Newton steps on Richardson derivatives --------
LOG <- new.env()
ref_opt <- function(fn, par, lower, upper, control = list()) {
  best <- list(par = par, f = fn(par)); tr <- list(); nev <- 0L
  keep <- function(nm, p, f, k) {
    tr[[nm]] <<- list(criterion = f, theta = A(p), evaluations = k); nev <<- nev + k
    if (is.finite(f) && f < best$f) best <<- list(par = p, f = f)
  }
  if (!isTRUE(all(is.finite(lower)))) lower[!is.finite(lower)] <- -Inf
  light <- isTRUE(control$light)
  try_nlopt <- function(nm, st) { o <- tryCatch(lme4::nloptwrap(st, fn, lower, upper, control = list(xtol_abs = 1e-12, ftol_abs = 1e-12, maxeval = 1e5)), error = function(e) NULL)
    if (!is.null(o)) keep(nm, o$par, o$fval, as.integer(o$feval)) }
  try_minqa <- function(nm, st, rb, re) { o <- tryCatch(minqa::bobyqa(st, fn, lower = lower, upper = upper, control = list(rhobeg = rb, rhoend = re, maxfun = 1e5)), error = function(e) NULL)
    if (!is.null(o)) keep(nm, o$par, o$fval, as.integer(o$feval)) }
  try_nlopt("nlopt_bobyqa_tight", par)
  try_minqa("minqa_bobyqa_tight", par, 0.2, if (light) 1e-7 else 1e-10)
  if (light) try_nlopt("nlopt_bobyqa_restart", best$par)
  if (!light) {
    dg <- is.finite(lower)
    if (any(dg)) { try_minqa("minqa_bobyqa_small_start", ifelse(dg, .2, .02), 0.05, 1e-9); try_minqa("minqa_bobyqa_large_start", ifelse(dg, 3, 0), 0.5, 1e-9) }
    o <- tryCatch(optim(best$par, fn, method = "L-BFGS-B", lower = lower, upper = upper,
                        control = list(factr = 10, maxit = 2000)), error = function(e) NULL)
    if (!is.null(o)) keep("lbfgsb", o$par, o$value, as.integer(o$counts[1]))
    try_minqa("minqa_bobyqa_restart", best$par, 0.02, 1e-11)
  }
  p <- best$par; f <- best$f
  at <- which(is.finite(lower) & p - lower < 1e-3)   # small scale factors: is exact zero as good?
  for (i in at) { q <- p; q[i] <- lower[i]; fq <- fn(q); if (fq <= f + 1e-9 + 1e-14 * abs(f)) { p <- q; f <- fq } }
  free <- which(!(is.finite(lower) & p == lower))
  g <- numeric(0); ev <- numeric(0)
  if (length(free)) {
    ff <- function(z) { q <- p; q[free] <- z; fn(q) }
    ga <- list(eps = 1e-3, d = 1e-3, r = if (light) 4 else 6)
    for (it in 1:6) {
      z <- p[free]; g <- numDeriv::grad(ff, z, method.args = ga)
      H <- numDeriv::hessian(ff, z, method.args = list(eps = 1e-2, d = 1e-2, r = 4))
      e <- eigen((H + t(H)) / 2, symmetric = TRUE); ev <- e$values
      ok <- ev > 1e-7 * max(abs(ev)); if (!any(ok)) break
      s <- -as.vector(e$vectors[, ok, drop = FALSE] %*% (crossprod(e$vectors[, ok, drop = FALSE], g) / ev[ok]))
      q <- p; q[free] <- z + s
      if (any(q < lower)) break
      fq <- fn(q); gq <- numDeriv::grad(ff, q[free], method.args = ga)
      if (fq > f + 1e-9 * (1 + abs(f)) || sum(gq^2) >= sum(g^2)) break
      p <- q; f <- fq; g <- gq
      if (max(abs(s)) < 1e-12 || (light && (it >= 2 || length(free) > 6))) break
    }
  }
  f <- fn(p)
  keep("newton_polish", p, f, 0L); if (f > best$f + 1e-8) { p <- best$par; f <- fn(p) }
  bc <- vapply(which(p == lower), function(i) min(vapply(c(1e-3, 1e-2, 5e-2), function(h) { q <- p; q[i] <- lower[i] + h; fn(q) }, 0)) - f, 0)
  f <- fn(p)
  LOG$last <- list(trials = tr, criterion = f, theta = A(p), max_abs_grad = if (length(g)) max(abs(g)) else 0,
                   hessian_eigen = A(ev), at_bound = A(which(p == lower)), rise_off_bound = A(bc))
  list(par = p, fval = f, conv = 0, convergence = 0, message = "ref_opt", feval = nev)
}
ctl <- function(light = FALSE) lmerControl(optimizer = "ref_opt", optCtrl = list(light = light),
  check.nobs.vs.nlev = "ignore", check.nobs.vs.rankZ = "ignore", check.nobs.vs.nRE = "ignore",
  check.scaleX = "ignore", check.conv.grad = "ignore", check.conv.hess = "ignore", check.conv.singular = "ignore",
  check.rankX = "silent.drop.cols", calc.derivs = FALSE)
fitcall <- function(formula, REML, weights = NULL, offset = NULL, control) {
  cl <- substitute(lme4::lmer(F, data = dat, REML = R, control = CTL, na.action = na.omit), list(F = formula, R = REML, CTL = control))
  if (!is.null(weights)) cl$weights <- as.name(weights)
  if (!is.null(offset)) cl$offset <- as.name(offset)
  eval(cl, globalenv())
}
fit_ref <- function(formula, REML = TRUE, weights = NULL, offset = NULL, light = FALSE)
  quietly(fitcall(formula, REML, weights, offset, quote(CTL)))
CTL <- ctl(FALSE)
crit <- function(m) as.numeric(-2 * logLik(m))

## ---- one linear mixed model ------------------------------------------------
fit_section <- function(m) {
  dc <- getME(m, "devcomp"); ll <- logLik(m)
  list(logLik = as.numeric(ll), criterion = as.numeric(-2 * ll),
       criterion_name = if (isREML(m)) "REML criterion = -2 restricted log-likelihood" else "deviance = -2 log-likelihood",
       AIC = AIC(m), BIC = BIC(m), df = attr(ll, "df"), df_residual = df.residual(m), nobs = nobs(m),
       sigma = sigma(m), theta = A(getME(m, "theta")), theta_names = A(names(getME(m, "theta"))),
       isSingular_tol1e4 = isSingular(m, tol = 1e-4),
       devcomp = as.list(dc$cmp[c("ldL2", "ldRX2", "wrss", "ussq", "pwrss", "drsum", "REML", "dev", "sigmaML", "sigmaREML")][
         !is.na(dc$cmp[c("ldL2", "ldRX2", "wrss", "ussq", "pwrss", "drsum", "REML", "dev", "sigmaML", "sigmaREML")])]))
}
fixef_section <- function(m) {
  b <- fixef(m); V <- as.matrix(vcov(m)); se <- sqrt(diag(V)); fd <- fixef(m, add.dropped = TRUE)
  list(names = A(names(b)), estimate = A(b), se = A(se), t = A(b / se), vcov = mat(V),
       dropped = A(setdiff(names(fd), names(b))))
}
varcorr_section <- function(m) { v <- as.data.frame(VarCorr(m)); as_cols(data.frame(grp = v$grp, var1 = v$var1, var2 = v$var2, vcov = v$vcov, sdcor = v$sdcor)) }
ranef_section <- function(m, full = 120L) {
  re <- quietly(ranef(m, condVar = TRUE)); cn <- m@cnms; used <- list(); out <- list()
  for (k in seq_along(cn)) {
    g <- names(cn)[k]; off <- if (is.null(used[[g]])) c(0L, 0L) else used[[g]]
    cols <- off[1] + seq_along(cn[[k]]); R <- as.matrix(re[[g]][, cols, drop = FALSE])
    pv <- attr(re[[g]], "postVar"); if (is.list(pv)) pv <- pv[[off[2] + 1L]]
    used[[g]] <- c(max(cols), off[2] + 1L)
    n <- nrow(R); tr <- n > full; ii <- if (tr) 1:10 else seq_len(n); pv <- aperm(pv, c(3, 1, 2)); dimnames(pv) <- NULL
    out[[k]] <- list(group = g, columns = A(cn[[k]]), nlevels = n, truncated = tr, levels = A(rownames(R)[ii]),
      values = mat(R[ii, , drop = FALSE]), condVar = I(pv[ii, , , drop = FALSE]), sum = A(colSums(R)), sumsq = A(colSums(R^2)),
      condVar_sum = mat(matrix(apply(pv, c(2, 3), sum), dim(pv)[2])), condVar_sumsq = mat(matrix(apply(pv^2, c(2, 3), sum), dim(pv)[2])))
  }
  out
}
default_optimizers <- function(formula, REML, weights, offset, ref, big) {
  o <- list()
  for (nm in c("nloptwrap", "bobyqa", if (!big) "Nelder_Mead")) o[[nm]] <- safely({
    DCTL <<- lmerControl(optimizer = nm, check.nobs.vs.nlev = "ignore", check.nobs.vs.rankZ = "ignore", check.nobs.vs.nRE = "ignore", check.rankX = "silent.drop.cols")
    m <- fitcall(formula, REML, weights, offset, quote(DCTL))
    list(criterion = crit(m), theta = A(getME(m, "theta")), evaluations = as.integer(m@optinfo$feval),
         minus_reference = crit(m) - ref, messages = A(as.character(c(m@optinfo$message, unlist(m@optinfo$conv$lme4$messages)))))
  })
  o
}
coef_tests <- function(m, ddf) {
  mt <- quietly(lmerTest::as_lmerModLmerTest(m)); s <- quietly(summary(mt, ddf = ddf))$coefficients
  list(names = A(rownames(s)), estimate = A(s[, 1]), se = A(s[, 2]), df = A(s[, 3]), t = A(s[, 4]), p = A(s[, 5]),
    vcov_theta_sigma = mat(mt@vcov_varpar))
}
anova_tab <- function(m, type, ddf) {
  a <- quietly(anova(lmerTest::as_lmerModLmerTest(m), type = type, ddf = ddf)); a <- as.data.frame(a)
  list(terms = A(rownames(a)), SumSq = A(a[[1]]), MeanSq = A(a[[2]]), NumDF = A(a[[3]]), DenDF = A(a[[4]]), F = A(a[[5]]), p = A(a[[6]]))
}
kr_section <- function(m) {
  V <- vcovAdj(m); K <- Lb_ddf
  L <- diag(length(fixef(m))); dd <- apply(L, 1, function(l) Lb_ddf(l, vcov(m), V))
  b <- fixef(m); se <- sqrt(diag(as.matrix(V)))
  list(names = A(names(b)), vcovAdj = mat(V), se = A(se), ddf = A(dd), t = A(b / se), p = A(2 * pt(-abs(b / se), dd)))
}
krmod <- function(large, small) {
  r <- quietly(KRmodcomp(large, small))$test
  list(stat = r["Ftest", "stat"], ndf = r["Ftest", "ndf"], ddf = r["Ftest", "ddf"], F_scaling = r["Ftest", "F.scaling"],
       p = r["Ftest", "p.value"], stat_unscaled = r["FtestU", "stat"], p_unscaled = r["FtestU", "p.value"])
}
satmod <- function(large, small) {
  r <- quietly(SATmodcomp(large, small))$test
  list(stat = r$statistic[1], ndf = r$ndf[1], ddf = r$ddf[1], p = r$p.value[1])
}
lrt_ml <- function(fs, fl, spec) {
  a <- fit_ref(fs, FALSE, spec$weights, spec$offset); b <- fit_ref(fl, FALSE, spec$weights, spec$offset)
  la <- logLik(a); lb <- logLik(b); x <- 2 * as.numeric(lb - la); k <- attr(lb, "df") - attr(la, "df")
  list(small = fstr(fs), large = fstr(fl), logLik_small = as.numeric(la), logLik_large = as.numeric(lb), df_small = attr(la, "df"),
       df_large = attr(lb, "df"), AIC_small = AIC(a), AIC_large = AIC(b), BIC_small = BIC(a), BIC_large = BIC(b), chisq = x, df = k, p = pchisq(x, k, lower.tail = FALSE))
}
rlrt_run <- function(sp, spec) {
  set.seed(20240501); nsim <- if (is.null(sp$nsim)) NSIM else min(sp$nsim, NSIM)
  if (identical(sp$type, "LRT")) {
    m <- fit_ref(sp$m, FALSE, spec$weights, spec$offset); lhs <- sp$m0
    m0 <- eval(substitute(lm(F, data = dat), list(F = sp$m0)), globalenv()); r <- quietly(exactLRT(m, m0, nsim = nsim))
    out <- list(type = "exactLRT", m = fstr(sp$m), m0 = fstr(sp$m0))
  } else {
    m <- fit_ref(sp$m, TRUE, spec$weights, spec$offset)
    if (is.null(sp$mA)) { r <- quietly(exactRLRT(m, nsim = nsim)); out <- list(type = "exactRLRT", m = fstr(sp$m), mA = NULL, m0 = NULL) }
    else { mA <- fit_ref(sp$mA, TRUE, spec$weights, spec$offset); m0 <- fit_ref(sp$m0, TRUE, spec$weights, spec$offset)
      r <- quietly(exactRLRT(m, mA = mA, m0 = m0, nsim = nsim)); out <- list(type = "exactRLRT", m = fstr(sp$m), mA = fstr(sp$mA), m0 = fstr(sp$m0)) }
  }
  p <- as.numeric(r$p.value); s <- r$sample
  c(out, list(statistic = as.numeric(r$statistic), p = p, nsim = nsim, p_mcse = sqrt(max(p, 1 / nsim) * (1 - p) / nsim),
    null_quantiles = if (length(s)) list(prob = A(c(.5, .75, .9, .95, .99)), value = A(as.numeric(quantile(s, c(.5, .75, .9, .95, .99)))), share_zero = mean(s < 1e-10)) else NULL))
}
## Profile-likelihood limits by direct root finding on the ML deviance (no splines): the authoritative profile intervals.
profile_exact <- function(spec, formula, levels = c(.95, .90)) {
  cl <- substitute(lme4::lFormula(F, data = dat, REML = FALSE, na.action = na.omit, control = PC), list(F = formula))
  PC <<- lmerControl(check.nobs.vs.nlev = "ignore", check.nobs.vs.rankZ = "ignore", check.nobs.vs.nRE = "ignore", check.rankX = "silent.drop.cols", check.scaleX = "ignore")
  if (!is.null(spec$weights)) cl$weights <- as.name(spec$weights)
  if (!is.null(spec$offset)) cl$offset <- as.name(spec$offset)
  lf <- quietly(eval(cl, globalenv())); X <- lf$X; y0 <- as.numeric(model.response(lf$fr)); n <- nrow(X); p <- ncol(X)
  mkdf <- function(XX, yy) { l <- lf; l$X <- XX; l$fr[[1]] <- yy; do.call(mkLmerDevfun, l[c("fr", "X", "reTrms", "REML")]) }
  dim <- lengths(lf$reTrms$cnms); stopifnot(all(dim <= 2))
  # two sets of coordinates of a two-column term: theta itself (t1, t21, t22) and, for the SD of the second column
  # and the correlation, (t1, a, r) with t21 = r sin(a), t22 = r cos(a)
  off <- cumsum(c(0, ifelse(dim == 1, 1, 3))); nu <- sum(ifelse(dim == 1, 1, 3))
  kind <- unlist(lapply(dim, function(k) if (k == 1) "sd" else c("sd", "cor", "sd2")))
  lo <- unlist(lapply(dim, function(k) if (k == 1) 0 else c(0, -Inf, 0))); hi <- rep(Inf, nu)
  polar <- function(u, k) { z <- u; z[off[k] + 2:3] <- u[off[k] + 3] * c(sin(u[off[k] + 2]), cos(u[off[k] + 2])); z }
  opt <- function(f, st, l, h) {
    l2 <- ifelse(is.finite(l), l, -1e6); h2 <- ifelse(is.finite(h), h, 1e6); st <- pmin(pmax(st, l2), h2); best <- list(par = st, f = f(st))
    if (!length(st)) return(best)
    sc <- pmax(abs(st), .02); fs <- function(z) f(z * sc)
    for (r in 1:3) {
      z0 <- best$par / sc
      o <- tryCatch(if (length(st) == 1) { w <- c(2, .2, .02)[r]; z <- optimize(fs, c(max(l2 / sc, z0 - w), min(h2 / sc, z0 + w)), tol = 1e-12); list(par = z$minimum, fval = z$objective) }
                    else minqa::bobyqa(z0, fs, lower = l2 / sc, upper = h2 / sc, control = list(rhobeg = c(.2, .02, 1e-3)[r], rhoend = c(1e-6, 1e-8, 1e-9)[r], maxfun = 20000)), error = function(e) NULL)
      if (!is.null(o) && o$fval < best$f) best <- list(par = o$par * sc, f = o$fval)
      o <- tryCatch(nlminb(best$par / sc, fs, lower = l2 / sc, upper = h2 / sc, control = list(rel.tol = 1e-14, x.tol = 1e-12, eval.max = 5000, iter.max = 2000)), error = function(e) NULL)
      if (!is.null(o) && o$objective < best$f) best <- list(par = o$par * sc, f = o$objective)
    }
    best
  }
  opt2 <- function(f, a, b, l, h, extra = list()) { o <- opt(f, a, l, h); if (length(b)) for (x in c(list(b), extra)) { o2 <- opt(f, x, l, h); if (o2$f < o$f) o <- o2 }; o }
  df0 <- mkdf(X, y0); rho <- environment(df0)
  parts <- function(th) { d <- df0(th); l <- rho$pp$ldL2(); w <- rho$resp$wrss() + rho$pp$sqrL(1); c(l, w, d - (l + n * (1 + log(2 * pi * w / n)))) }
  dev_s <- function(u, s) { q <- parts(u); q[1] + q[3] + n * log(2 * pi * s^2) + q[2] / s^2 }
  prof_dev <- function(u) df0(u)
  b0 <- NULL; for (st in list(ifelse(kind == "cor", 0, 1), ifelse(kind == "cor", 0, .3), ifelse(kind == "cor", .2, 2))) { o <- opt(prof_dev, st, lo, hi); if (is.null(b0) || o$f < b0$f) b0 <- o }
  q0 <- parts(b0$par); shat <- sqrt(q0[2] / n); dmin <- b0$f; uhat <- b0$par
  beta <- { df0(uhat); as.numeric(rho$pp$beta(1)) }
  limits <- function(g, est, step, lower, upper) {       # g(x): profiled deviance - dmin
    one <- function(q, sgn) {
      bound <- if (sgn < 0) lower else upper
      x <- est; gx <- 0; h <- step
      repeat { xn <- x + sgn * h; if ((xn - bound) * sgn >= 0) { gn <- g(bound); if (gn < q) return(bound); xn <- bound; break }
        gn <- g(xn); if (gn >= q) break; x <- xn; gx <- gn; h <- h * 1.5 }
      uniroot(function(z) g(z) - q, c(x, xn)[order(c(x, xn))], f.lower = (if (x < xn) gx else gn) - q, f.upper = (if (x < xn) gn else gx) - q, tol = 1e-9 * step, maxiter = 200)$root
    }
    unlist(lapply(levels, function(L) c(one(qchisq(L, 1), -1), one(qchisq(L, 1), 1))))
  }
  out <- matrix(NA_real_, 0, 2 * length(levels)); nm <- character(0)
  add <- function(name, v) { out <<- rbind(out, v); nm <<- c(nm, name) }
  last <- NULL
  for (i in seq_len(nu)) {
    fr <- setdiff(seq_len(nu), i); k <- which(off < i)[length(which(off < i))]; k <- min(k, length(dim)); uh <- uhat; L <- lo; H <- hi; tr <- identity
    if (kind[i] != "sd") { z <- off[k] + 2:3; uh[z] <- c(atan2(uhat[z[1]], uhat[z[2]]), sqrt(sum(uhat[z]^2))); L[z] <- c(-pi / 2, 0); H[z] <- c(pi / 2, Inf); tr <- function(u) polar(u, k) }
    ex <- if (kind[i] == "sd2") lapply(c(-1.5, 0, 1.5), function(a) { e <- uh; e[off[k] + 2] <- a; c(e[fr], log(shat)) }) else list()
    last <- c(uh[fr], log(shat))
    g <- if (kind[i] != "cor") function(x) { f <- function(z) { s <- exp(z[length(z)]); u <- numeric(nu); u[fr] <- z[-length(z)]; u[i] <- x / s; dev_s(tr(u), s) }
        o <- opt2(f, last, c(uh[fr], log(shat)), c(L[fr], -30), c(H[fr], 40), ex); last <<- o$par; o$f - dmin }
      else function(x) { f <- function(z) { u <- numeric(nu); u[fr] <- z; u[i] <- asin(x); prof_dev(tr(u)) }
        o <- opt2(f, last[seq_along(fr)], uh[fr], L[fr], H[fr], list(uh[fr] * .3)); last <<- c(o$par, log(shat)); o$f - dmin }
    est <- if (kind[i] == "cor") sin(uh[i]) else uh[i] * shat
    add(sprintf(".sig%02d", i), limits(g, est, if (kind[i] == "cor") .1 else max(est, shat * .05) * .15, if (kind[i] == "cor") -1 else 0, if (kind[i] == "cor") 1 else Inf))
  }
  last <- uhat; g <- function(x) { o <- opt2(function(u) dev_s(u, x), last, uhat, lo, hi); last <<- o$par; o$f - dmin }
  add(".sigma", limits(g, shat, shat * .05, shat * 1e-4, Inf))
  V <- { df0(uhat); as.matrix(rho$pp$unsc()) * shat^2 }
  for (j in seq_len(p)) { last <- uhat; XX <- X[, -j, drop = FALSE]
    g <- function(x) { d <- mkdf(XX, y0 - X[, j] * x); o <- opt2(function(u) d(u), last, uhat, lo, hi); last <<- o$par; o$f - dmin }
    add(colnames(X)[j], limits(g, beta[j], sqrt(V[j, j]) * .5, -Inf, Inf)) }
  list(names = A(nm), lower = A(out[, 1]), upper = A(out[, 2]), lower90 = A(out[, 3]), upper90 = A(out[, 4]), deviance_min = dmin)
}
profile_section <- function(spec, formula) {
  PCTL <<- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, rhobeg = 2e-3, maxfun = 1e5), calc.derivs = FALSE,
    check.nobs.vs.nlev = "ignore", check.nobs.vs.rankZ = "ignore", check.nobs.vs.nRE = "ignore", check.conv.singular = "ignore", check.rankX = "silent.drop.cols")
  m <- quietly(fitcall(formula, spec$REML, spec$weights, spec$offset, quote(PCTL)))
  one <- function(...) {
    pr <- quietly(profile(m, signames = TRUE, ...)); ci <- quietly(confint(pr, level = 0.95)); ci99 <- quietly(confint(pr, level = 0.90))
    list(names = A(rownames(ci)), lower = A(ci[, 1]), upper = A(ci[, 2]), lower90 = A(ci99[, 1]), upper90 = A(ci99[, 2]))
  }
  out <- profile_exact(spec, formula)
  out$names_new <- A(safely(rownames(quietly(confint(m, method = "Wald", oldNames = FALSE)))))
  out$lme4_fine_grid <- safely(one(delta.cutoff = 1 / 24, maxpts = 600)); out$lme4_default_grid <- safely(one())
  out
}
emm_run <- function(m, sp) {
  call <- c(list(m, as.formula(sp$specs)), sp$args)
  e <- quietly(do.call(emmeans, call)); d <- as.data.frame(summary(e, infer = c(TRUE, TRUE)))
  out <- list(specs = sp$specs, method = "kenward-roger", table = as_cols(d))
  for (k in names(sp$contr)) {
    cc <- quietly(contrast(e, method = sp$contr[[k]], adjust = "none", by = sp$by)); out$contrasts[[k]] <- as_cols(as.data.frame(summary(cc, infer = c(TRUE, TRUE))))
    if (identical(sp$contr[[k]], "pairwise")) { cc <- quietly(contrast(e, method = "pairwise", adjust = "tukey", by = sp$by)); out$contrasts[[paste0(k, "_tukey")]] <- as_cols(as.data.frame(summary(cc, infer = c(TRUE, TRUE)))) }
  }
  out
}
predict_section <- function(m, spec) {
  fe <- all.vars(nobars(formula(m))[[3]]); gv <- setdiff(unique(unlist(lapply(findbars(formula(m)), function(b) all.vars(b[[3]])))), fe)
  fr <- spec$newdata
  if (is.null(fr)) {
    vars <- unique(c(all.vars(formula(m)), spec$offset)); d <- dat[complete.cases(dat[, intersect(vars, names(dat)), drop = FALSE]), ]
    ix <- unique(round(seq(1, nrow(d), length.out = 4))); fr <- d[ix, intersect(vars, names(d)), drop = FALSE]
    fr[] <- lapply(fr, function(z) if (is.factor(z)) as.character(z) else z)
    for (v in gv) { r <- fr[1, , drop = FALSE]; r[[v]] <- if (is.numeric(r[[v]])) 999999 else "NEWLEVEL"; fr <- rbind(fr, r) }
    if (length(gv) > 1) { r <- fr[1, , drop = FALSE]; for (v in gv) r[[v]] <- if (is.numeric(r[[v]])) 999999 else "NEWLEVEL"; fr <- rbind(fr, r) }
    fr[[all.vars(formula(m)[[2]])[1]]] <- NULL; rownames(fr) <- NULL
  }
  nd <- fr; for (v in setdiff(names(nd), gv)) if (is.factor(dat[[v]])) nd[[v]] <- factor(nd[[v]], levels = levels(dat[[v]]))
  p1 <- quietly(predict(m, newdata = nd, re.form = NULL, allow.new.levels = TRUE))
  p0 <- quietly(predict(m, newdata = nd, re.form = NA))
  o <- list(newdata = as_cols(fr))
  if (!is.null(spec$offset)) {  # lme4's predict(newdata) leaves out an offset given as an argument: added here
    if (abs(p1[1] + fr[[spec$offset]][1] - fitted(m)[1]) < 1e-6 * abs(fitted(m)[1])) { p1 <- p1 + fr[[spec$offset]]; p0 <- p0 + fr[[spec$offset]] }
    o$offset_note <- "the values include the offset column (lme4's own predict with newdata omits an offset argument)"
  }
  c(o, list(re_form_NULL = A(p1), re_form_NA = A(p0)))
}
devfun_section <- function(m) {
  th <- getME(m, "theta"); df <- quietly(update(m, devFunOnly = TRUE)); st <- as.numeric(getME(m, "lower") == 0)
  pts <- list(start = st, half = th / 2 + .1 * st, ones = st + .25 * (1 - st), estimate = th)
  lapply(pts, function(p) list(theta = A(p), criterion = df(p)))
}

CASES <- list(); EXTRA <- list()
case <- function(name, ...) CASES[[name]] <<- c(list(name = name, kind = "lmm"), list(...))

run_lmm <- function(spec) {
  d <- read_data(spec$data, spec$factors %||% list())
  for (v in names(spec$contrasts)) contrasts(d[[v]]) <- if (spec$contrasts[[v]] == "sum") contr.sum(nlevels(d[[v]])) else contr.treatment(nlevels(d[[v]]))
  assign("dat", d, globalenv()); big <- isTRUE(spec$big); assign("CTL", ctl(big), globalenv())
  F <- spec$formula; if (is.null(spec$REML)) spec$REML <- TRUE
  t0 <- proc.time()[[3]]; m <- fit_ref(F, spec$REML, spec$weights, spec$offset); opt <- LOG$last; t1 <- proc.time()[[3]]
  vars <- unique(c(all.vars(F), spec$weights, spec$offset))
  out <- list(case = spec$name, kind = "lmm", description = spec$desc, covers = A(spec$covers), data = file.path("data", spec$data), source = spec$source,
    columns_used = A(intersect(vars, names(d))), factors = factor_info(d, vars),
    contrasts = if (length(spec$contrasts)) spec$contrasts else "treatment (first level is the reference)",
    formula = fstr(F), fixed_formula = fstr(nobars(F)), statsmodels = spec$sm,
    random_terms = lapply(seq_along(m@cnms), function(k) list(group = names(m@cnms)[k], columns = A(m@cnms[[k]]))),
    REML = spec$REML, weights = spec$weights, offset = spec$offset, nobs = nobs(m), nrow_data = nrow(d), ngroups = as.list(ngrps(m)),
    p = length(fixef(m)), rank_deficient_dropped = A(setdiff(names(fixef(m, add.dropped = TRUE)), names(fixef(m)))))
  X <- getME(m, "X"); out$X_columns <- A(colnames(X)); out$X_head <- mat(X[seq_len(min(5, nrow(X))), , drop = FALSE]); out$X_colsum <- A(colSums(X))
  Zt <- getME(m, "Zt"); out$Z <- list(q = nrow(Zt), n = ncol(Zt), nnz = length(Zt@x), sum = sum(Zt@x), sumsq = sum(Zt@x^2))
  out$fit <- fit_section(m); out$fixef <- fixef_section(m); out$varcorr <- varcorr_section(m); out$ranef <- ranef_section(m)
  out$fitted <- vecsum(fitted(m)); out$resid <- vecsum(residuals(m))
  out$resid_pearson <- vecsum(residuals(m, "pearson"))
  if (nobs(m) <= 700) { out$hatvalues <- safely(vecsum(hatvalues(m))); out$cooks_distance <- safely(vecsum(cooks.distance(m))) }
  out$fitted_fixed_only <- vecsum(quietly(predict(m, re.form = NA)))
  sr <- residuals(m, "pearson", scaled = TRUE); out$scaled_resid_quantiles <- list(prob = A(c(0, .25, .5, .75, 1)), value = A(quantile(sr)))
  out$optimum <- c(opt, list(lme4_defaults = default_optimizers(F, spec$REML, spec$weights, spec$offset, crit(m), big)))
  out$criterion_at <- safely(devfun_section(m))
  out$wald_ci <- safely({ ci <- confint(m, method = "Wald", parm = "beta_"); list(level = 0.95, names = A(rownames(ci)), lower = A(ci[, 1]), upper = A(ci[, 2])) })
  out$predict <- safely(predict_section(m, spec))
  if (!isFALSE(spec$satterthwaite)) {
    out$satterthwaite <- safely(coef_tests(m, "Satterthwaite"))
    if (length(attr(terms(nobars(F)), "term.labels"))) out$anova <- list(type3_satterthwaite = safely(anova_tab(m, 3, "Satterthwaite")),
      type2_satterthwaite = safely(anova_tab(m, 2, "Satterthwaite")), type1_satterthwaite = safely(anova_tab(m, 1, "Satterthwaite")))
  }
  if (!isFALSE(spec$kr) && spec$REML && is.null(spec$weights)) {
    out$kenward_roger <- safely(kr_section(m))
    if (length(attr(terms(nobars(F)), "term.labels"))) out$anova$type3_kenward_roger <- safely(anova_tab(m, 3, "Kenward-Roger"))
  }
  if (!isFALSE(spec$drop1) && length(attr(terms(nobars(F)), "term.labels")) && !big)
    out$drop1 <- safely({ a <- quietly(drop1(lmerTest::as_lmerModLmerTest(m), ddf = "Satterthwaite")); a <- as.data.frame(a)
      list(terms = A(rownames(a)), NumDF = A(a$NumDF), DenDF = A(a$DenDF), F = A(a[["F value"]]), p = A(a[["Pr(>F)"]])) })
  if (!isFALSE(spec$drop1) && length(attr(terms(nobars(F)), "term.labels")) && !big)
    out$drop1_lrt_ml <- safely({ m1 <- fit_ref(F, FALSE, spec$weights, spec$offset); a <- as.data.frame(quietly(drop1(m1, test = "Chisq")))
      list(terms = A(rownames(a)[-1]), npar = A(a$npar[-1]), AIC_full = a$AIC[1], AIC = A(a$AIC[-1]), LRT = A(a$LRT[-1]), p = A(a[["Pr(Chi)"]][-1])) })
  if (!isFALSE(spec$ranova) && !big) out$ranova <- safely({ a <- as.data.frame(quietly(lmerTest::ranova(lmerTest::as_lmerModLmerTest(m))))
      list(rows = A(rownames(a)), npar = A(a$npar), logLik = A(a$logLik), AIC = A(a$AIC), LRT = A(a$LRT[-1]), Df = A(a$Df[-1]), p = A(a[["Pr(>Chisq)"]][-1]), note = "LRT, Df, p belong to rows 2 and on") })
  if (!is.null(spec$step)) out$step <- safely({ s <- quietly(lmerTest::step(lmerTest::as_lmerModLmerTest(m))); list(final = fstr(formula(attr(s, "model"))), fixed = tab(s$fixed), random_rows = A(rownames(s$random))) })
  for (k in names(spec$krmod)) { q <- spec$krmod[[k]]; out$model_comparisons[[k]] <- safely({
      L <- fit_ref(q[[1]], TRUE); S <- fit_ref(q[[2]], TRUE)
      list(large = fstr(q[[1]]), small = fstr(q[[2]]), KRmodcomp = safely(krmod(L, S)), SATmodcomp = safely(satmod(L, S)), LRT_ML = lrt_ml(q[[2]], q[[1]], spec)) }) }
  for (k in names(spec$lrt)) out$lrt_ml[[k]] <- safely(lrt_ml(spec$lrt[[k]][[2]], spec$lrt[[k]][[1]], spec))
  if (isTRUE(spec$lm_null)) out$lrt_vs_lm <- safely({ f0 <- nobars(F); m0 <- eval(substitute(lm(F, data = dat), list(F = f0)), globalenv()); m1 <- fit_ref(F, FALSE)
      x <- 2 * as.numeric(logLik(m1) - logLik(m0)); list(lm_formula = fstr(f0), logLik_lm = as.numeric(logLik(m0)), logLik_lmer_ML = as.numeric(logLik(m1)), chisq = x, p_chisq1 = pchisq(x, 1, lower.tail = FALSE)) })
  for (k in names(spec$rlrt)) out$rlrt[[k]] <- safely(rlrt_run(spec$rlrt[[k]], spec))
  if (isTRUE(spec$profile)) out$profile_ci <- safely(profile_section(spec, F))
  for (k in names(spec$emm)) out$emmeans[[k]] <- safely(emm_run(m, spec$emm[[k]]))
  if (!is.null(spec$also)) out <- c(out, spec$also(m, d))
  if (is.null(spec$weights) && !big) out$performance <- safely({ if (isSingular(m)) stop("singular fit: performance gives no R2"); r <- quietly(performance::r2_nakagawa(m)); ic <- quietly(performance::icc(m))
      list(r2_conditional = as.numeric(r$R2_conditional), r2_marginal = as.numeric(r$R2_marginal), icc_adjusted = as.numeric(ic$ICC_adjusted), icc_unadjusted = as.numeric(ic$ICC_unadjusted)) })
  out$seconds_fit <- NULL
  out
}
`%||%` <- function(a, b) if (is.null(a)) b else a

## ---- generalized linear mixed models --------------------------------------------------
glmm <- function(name, ...) CASES[[name]] <<- c(list(name = name, kind = "glmm"), list(...))
run_glmm <- function(spec) {
  d <- read_data(spec$data, spec$factors %||% list()); assign("dat", d, globalenv())
  one <- function(nAGQ) {
    fitg <- function(control) { GC <<- control
      cl <- substitute(glmer(F, data = dat, family = FAM, nAGQ = K, control = GC), list(F = spec$formula, FAM = spec$family, K = nAGQ))
      if (!is.null(spec$weights)) cl$weights <- as.name(spec$weights); if (!is.null(spec$offset)) cl$offset <- as.name(spec$offset)
      quietly(eval(cl, globalenv())) }
    ms <- list(bobyqa = fitg(glmerControl(optimizer = "bobyqa", tolPwrss = 1e-12, optCtrl = list(rhoend = 1e-9, maxfun = 1e6))),
               nloptwrap = fitg(glmerControl(optimizer = "nloptwrap", tolPwrss = 1e-12, optCtrl = list(xtol_abs = 1e-11, ftol_abs = 1e-11, maxeval = 1e5))))
    cr <- vapply(ms, function(z) as.numeric(-2 * logLik(z)), 0); k <- which.min(cr)
    if (!isTRUE(spec$light)) { st <- list(theta = getME(ms[[k]], "theta"), fixef = fixef(ms[[k]]))
      mp <- safely({ GST <<- st; GC <<- glmerControl(optimizer = "ref_opt", tolPwrss = 1e-12, optCtrl = list(light = TRUE))
        cl <- substitute(glmer(F, data = dat, family = FAM, nAGQ = K, control = GC, start = GST), list(F = spec$formula, FAM = spec$family, K = nAGQ))
        if (!is.null(spec$weights)) cl$weights <- as.name(spec$weights); if (!is.null(spec$offset)) cl$offset <- as.name(spec$offset)
        eval(cl, globalenv()) })
      if (!is.list(mp) && inherits(mp, "merMod")) { ms$polished <- mp; cr <- vapply(ms, function(z) as.numeric(-2 * logLik(z)), 0); k <- which.min(cr) } }
    m <- ms[[k]]; b <- fixef(m); V <- as.matrix(vcov(m)); V2 <- as.matrix(vcov(m, use.hessian = FALSE)); se <- sqrt(diag(V)); ll <- logLik(m)
    list(nAGQ = nAGQ, logLik = as.numeric(ll), criterion = as.numeric(-2 * ll), AIC = AIC(m), BIC = BIC(m), df = attr(ll, "df"), deviance_conditional = deviance(m),
      theta = A(getME(m, "theta")), fixef = list(names = A(names(b)), estimate = A(b), se = A(se), z = A(b / se), p = A(2 * pnorm(-abs(b / se))), vcov = mat(V), vcov_RX = mat(V2), se_RX = A(sqrt(diag(V2)))),
      varcorr = varcorr_section(m), ranef = ranef_section(m), fitted = vecsum(fitted(m)), resid_deviance = vecsum(residuals(m)), resid_pearson = vecsum(residuals(m, "pearson")),
      isSingular_tol1e4 = isSingular(m), optimizers = as.list(cr), chosen = names(ms)[k])
  }
  list(case = spec$name, kind = "glmm", description = spec$desc, covers = A(spec$covers), data = file.path("data", spec$data), source = spec$source,
    factors = factor_info(d, all.vars(spec$formula)), formula = fstr(spec$formula), family = spec$family_text, weights = spec$weights, offset = spec$offset, nobs = nrow(d),
    fits = lapply(setNames(spec$nAGQ, paste0("nAGQ", spec$nAGQ)), function(k) safely(one(k))))
}

## ---- nlme: lme and gls ---------------------------------------------------------------
nlmecase <- function(name, ...) CASES[[name]] <<- c(list(name = name, kind = "nlme"), list(...))
run_nlme <- function(spec) {
  d <- read_data(spec$data, spec$factors %||% list()); assign("dat", d, globalenv())
  one <- function(q) safely({
    m <- eval(q, globalenv()); ll <- logLik(m); isl <- inherits(m, "lme")
    b <- if (isl) fixef(m) else coef(m); V <- if (isl) m$varFix else m$varBeta; tt <- summary(m)$tTable
    ms <- m$modelStruct; cs <- ms$corStruct; vs <- ms$varStruct
    o <- list(call = fstr(q), method = m$method, logLik = as.numeric(ll), AIC = AIC(m), BIC = BIC(m), df = attr(ll, "df"), nobs_loglik = attr(ll, "nobs"), sigma = m$sigma,
      fixef = list(names = A(names(b)), estimate = A(b), vcov = mat(V), se = A(sqrt(diag(V))), t = A(tt[, "t-value"]), p = A(tt[, "p-value"])),
      fitted = vecsum(fitted(m)), resid = vecsum(resid(m)), resid_pearson = vecsum(resid(m, type = "pearson")), resid_normalized = vecsum(resid(m, type = "normalized")))
    if (isl) { o$fixef$df <- A(tt[, "DF"]); o$fitted_population <- vecsum(fitted(m, level = 0))
      o$random <- lapply(rev(lapply(ms$reStruct, function(z) mat(as.matrix(z) * m$sigma^2))), identity)
      re <- ranef(m); if (is.data.frame(re)) re <- setNames(list(re), names(m$groups)[1])
      o$ranef <- lapply(re, function(r) { r <- as.data.frame(r); n <- nrow(r); ii <- if (n > 120) 1:10 else seq_len(n); list(levels = A(rownames(r)[ii]), columns = A(names(r)), values = mat(r[ii, , drop = FALSE]), sumsq = A(colSums(r^2))) }) }
    if (!is.null(cs)) o$correlation <- list(class = class(cs)[1], coef = A(coef(cs, unconstrained = FALSE)))
    if (!is.null(vs)) o$variance <- list(class = class(vs)[1], names = A(names(coef(vs, unconstrained = FALSE))), coef = A(coef(vs, unconstrained = FALSE)))
    a <- as.data.frame(quietly(anova(m))); o$anova_sequential <- tab(a)
    o
  })
  list(case = spec$name, kind = "nlme", description = spec$desc, covers = A(spec$covers), data = file.path("data", spec$data), source = spec$source,
    factors = factor_info(d, names(d)), fits = lapply(spec$calls, one))
}
LC <- lmeControl(maxIter = 500, msMaxIter = 1000, niterEM = 50, msMaxEval = 5000, tolerance = 1e-10, msTol = 1e-12, opt = "nlminb", returnObject = TRUE)
GL <- glsControl(maxIter = 500, msMaxIter = 1000, tolerance = 1e-10, msTol = 1e-12, opt = "nlminb", returnObject = TRUE)

## ---- plm -----------------------------------------------------------------------------
panelcase <- function(name, ...) CASES[[name]] <<- c(list(name = name, kind = "panel"), list(...))
run_panel <- function(spec) {
  suppressMessages(library(plm)); d <- read_data(spec$data, spec$factors %||% list()); assign("dat", d, globalenv())
  pd <- pdata.frame(d, index = spec$index)
  coefs <- function(m) { b <- coef(m); V <- vcov(m); list(names = A(names(b)), estimate = A(b), se = A(sqrt(diag(V))), vcov = mat(V)) }
  one <- function(model, effect, method) safely({
    m <- if (model == "random") plm(spec$formula, data = pd, model = model, effect = effect, random.method = method) else plm(spec$formula, data = pd, model = model, effect = effect)
    o <- c(list(model = model, effect = effect, random_method = if (is.null(method)) "" else method), coefs(m), list(rsquared = unname(r.squared(m)), df_residual = m$df.residual, rss = sum(residuals(m)^2), fitted = vecsum(as.numeric(m$model[[1]]) * 0 + as.numeric(pmodel.response(m)) - as.numeric(residuals(m))), resid = vecsum(residuals(m))))
    if (model == "random") { e <- ercomp(m); o$sigma2 <- as.list(e$sigma2); th <- e$theta; o$theta <- if (is.list(th)) lapply(th, function(z) A(unique(as.numeric(z)))) else A(unique(as.numeric(th))) }
    o
  })
  out <- list(case = spec$name, kind = "panel", description = spec$desc, covers = A(spec$covers), data = file.path("data", spec$data), source = spec$source, formula = fstr(spec$formula), index = A(spec$index))
  for (g in spec$grid) out$fits[[paste(g, collapse = "_")]] <- one(g[1], g[2], if (length(g) > 2) g[3] else NULL)
  for (e in spec$hausman) out$hausman[[e]] <- safely({ w <- plm(spec$formula, pd, model = "within", effect = e); r <- plm(spec$formula, pd, model = "random", effect = e); h <- phtest(w, r)
      list(chisq = unname(h$statistic), df = unname(h$parameter), p = unname(h$p.value)) })
  out$lm_test <- safely({ p <- plm(spec$formula, pd, model = "pooling"); t <- function(x) list(statistic = unname(x$statistic), df = A(x$parameter), p = unname(x$p.value))
      list(bp_individual = t(plmtest(p, effect = "individual", type = "bp")), honda_individual = t(plmtest(p, effect = "individual", type = "honda"))) })
  out
}

write_json_case <- function(o, name) {
  dir.create("models", showWarnings = FALSE)
  o <- c(o, list(made_with = c(list(R = paste(R.version$major, R.version$minor, sep = ".")), as.list(pkgver("lme4", "lmerTest", "pbkrtest", "RLRsim", "emmeans", "nlme")))))
  writeLines(toJSON(o, auto_unbox = TRUE, digits = I(15), na = "null", null = "null", pretty = FALSE, factor = "string"), file.path("models", paste0(name, ".json")), useBytes = TRUE)
}
run_all <- function() {
  nm <- names(CASES); if (length(ONLY)) nm <- intersect(nm, ONLY)
  for (n in nm) {
    t0 <- proc.time()[[3]]; s <- CASES[[n]]
    o <- tryCatch(switch(s$kind, lmm = run_lmm(s), glmm = run_glmm(s), nlme = run_nlme(s), panel = run_panel(s), other = s$fun(s)), error = function(e) e)
    if (inherits(o, "error")) { cat("FAILED", n, conditionMessage(o), "\n"); next }
    write_json_case(o, n); cat(sprintf("%-34s %7.1f s\n", n, proc.time()[[3]] - t0))
  }
}
# ---------------------------------------------------------------------------
# Part 2: the cases
# ---------------------------------------------------------------------------
FWY <- "R package faraway (CRAN), object %s; Faraway (2016) Extending the Linear Model with R, 2nd ed."
fw <- function(x) sprintf(FWY, x)
L4 <- function(x, ref) sprintf("R package lme4 1.1-31, object %s; %s", x, ref)
NL <- function(x, ref = "Pinheiro & Bates (2000) Mixed-Effects Models in S and S-PLUS") sprintf("R package nlme 3.1-162, object %s; %s", x, ref)

## -- the published examples -------------------------------------------------------------------------
case("pulp_reml", desc = "One-way random effects, balanced; every figure of the published example", covers = c("published", "one-way", "RLRT", "profile CI", "LRT vs lm"),
  data = "pulp.csv", source = fw("pulp"), formula = bright ~ 1 + (1 | operator), sm = "MixedLM.from_formula('bright ~ 1', data, groups='operator')",
  profile = TRUE, lm_null = TRUE, rlrt = list(operator = list(m = bright ~ 1 + (1 | operator))))
case("pulp_ml", desc = "The same by ML; exact LRT", covers = c("published", "ML", "exactLRT"), data = "pulp.csv", source = fw("pulp"), formula = bright ~ 1 + (1 | operator), REML = FALSE,
  profile = TRUE, lm_null = TRUE, rlrt = list(operator = list(type = "LRT", m = bright ~ 1 + (1 | operator), m0 = bright ~ 1)))
irr_kr <- list(interaction = list(yield ~ irrigation * variety + (1 | field), yield ~ irrigation + variety + (1 | field)),
  variety = list(yield ~ irrigation + variety + (1 | field), yield ~ irrigation + (1 | field)),
  irrigation = list(yield ~ irrigation + variety + (1 | field), yield ~ variety + (1 | field)))
case("irrigation", desc = "Split plot, treatment contrasts", covers = c("published", "split plot", "KR", "RLRT", "emmeans", "profile CI"), data = "irrigation.csv", source = fw("irrigation"),
  formula = yield ~ irrigation * variety + (1 | field), sm = "MixedLM.from_formula('yield ~ irrigation * variety', data, groups='field')", krmod = irr_kr, profile = TRUE, step = TRUE,
  rlrt = list(field = list(m = yield ~ irrigation * variety + (1 | field))),
  emm = list(variety = list(specs = "~ variety", contr = list(pairwise = "pairwise")), irrigation = list(specs = "~ irrigation", contr = list(pairwise = "pairwise")),
    cells = list(specs = "~ irrigation * variety"), variety_by_irrigation = list(specs = "~ variety | irrigation", by = "irrigation", contr = list(pairwise = "pairwise"))))
case("irrigation_sum", desc = "Split plot, sum contrasts (the coefficients that the published example prints)", covers = c("published", "split plot", "sum contrasts"), data = "irrigation.csv", source = fw("irrigation"),
  contrasts = list(irrigation = "sum", variety = "sum"), formula = yield ~ irrigation * variety + (1 | field), sm = "fixed 'yield ~ C(irrigation, Sum) * C(variety, Sum)', groups='field'",
  also = function(m, d) list(arm_display = safely({ o <- capture.output(arm::display(m)); list(lines = A(o)) })))
case("irrigation_additive", desc = "Split plot without interaction", covers = c("published", "split plot", "KR"), data = "irrigation.csv", source = fw("irrigation"), formula = yield ~ irrigation + variety + (1 | field),
  krmod = irr_kr[2:3], emm = list(variety = list(specs = "~ variety", contr = list(pairwise = "pairwise")), irrigation = list(specs = "~ irrigation")))
eg <- function(t) as.formula(paste("Fat ~ 1 +", paste(c(a = "(1 | Lab)", b = "(1 | Lab:Technician)", c = "(1 | Lab:Technician:Sample)")[t], collapse = " + ")))
case("eggs", desc = "Three nested variance components; RLRT of each of the three", covers = c("published", "nested", "RLRT multi-term", "profile CI"), data = "eggs.csv", source = fw("eggs"), formula = Fat ~ 1 + (1 | Lab) + (1 | Lab:Technician) + (1 | Lab:Technician:Sample),
  profile = TRUE, rlrt = list(Sample = list(m = eg("c"), mA = eg(c("a", "b", "c")), m0 = eg(c("a", "b"))), Technician = list(m = eg("b"), mA = eg(c("a", "b", "c")), m0 = eg(c("a", "c"))), Lab = list(m = eg("a"), mA = eg(c("a", "b", "c")), m0 = eg(c("b", "c")))),
  sm = "groups='Lab', vc_formula={'tech': '0+C(Technician)', 'sample': '0+C(Technician):C(Sample)'}, re_formula='1'")
case("eggs_ml", desc = "The same by ML", covers = c("published", "nested", "ML"), data = "eggs.csv", source = fw("eggs"), formula = Fat ~ 1 + (1 | Lab) + (1 | Lab:Technician) + (1 | Lab:Technician:Sample), REML = FALSE)
ps_f <- log(income) ~ cyear * sex + age + educ + (cyear | person)
case("psid", desc = "Random intercept and slope, unbalanced, n = 1661; the per-person least squares and the Welch tests of the published example", covers = c("published", "slopes", "unbalanced", "KR n=1661"), data = "psid.csv", factors = list(person = NA), source = fw("psid"), formula = ps_f,
  sm = "MixedLM.from_formula('np.log(income) ~ cyear*sex + age + educ', data, groups='person', re_formula='~cyear')",
  krmod = list(interaction = list(ps_f, log(income) ~ cyear + sex + age + educ + (cyear | person)), age = list(ps_f, log(income) ~ cyear * sex + educ + (cyear | person))),
  also = function(m, d) { ml <- lmList4(log(income) ~ cyear | person, data = d, pool = FALSE); co <- t(vapply(seq_along(ml), function(i) coef(ml[[i]]), numeric(2)))
    sex <- d$sex[match(levels(d$person), as.character(d$person))]; w <- function(x) { t <- t.test(x[sex == "M"], x[sex == "F"]); list(t = unname(t$statistic), df = unname(t$parameter), p = t$p.value, conf_int = A(t$conf.int), mean_M = unname(t$estimate[1]), mean_F = unname(t$estimate[2])) }
    pooled <- sqrt(sum(vapply(seq_along(ml), function(i) sum(resid(ml[[i]])^2), 0)) / sum(vapply(seq_along(ml), function(i) df.residual(ml[[i]]), 0)))
    list(lmList = list(formula = "log(income) ~ cyear | person", person = A(levels(d$person)), sex = A(as.character(sex)), intercept = A(co[, 1]), slope = A(co[, 2]), pooled_residual_sd = pooled,
      pooled_df = sum(vapply(seq_along(ml), function(i) df.residual(ml[[i]]), 0)), welch_slopes = w(co[, 2]), welch_intercepts = w(co[, 1]))) })
case("psid_sum", desc = "The same with sum contrasts for sex (the coefficients that the published example prints)", covers = c("published", "slopes", "sum contrasts"), data = "psid.csv", factors = list(person = NA), contrasts = list(sex = "sum"), source = fw("psid"), formula = ps_f, kr = FALSE,
  also = function(m, d) list(arm_display = safely({ o <- capture.output(arm::display(m, digits = 3)); list(lines = A(o)) })))
case("psid_ml", desc = "The same by ML", covers = c("slopes", "ML"), data = "psid.csv", factors = list(person = NA), source = fw("psid"), formula = ps_f, REML = FALSE,
  lrt = list(age = list(ps_f, log(income) ~ cyear * sex + educ + (cyear | person)), slope = list(ps_f, log(income) ~ cyear * sex + age + educ + (1 | person))))
case("psid_rawyear", desc = "The same with the year not centred: the intercept and the slope are almost perfectly correlated and the criterion is badly scaled", covers = c("slopes", "ill-conditioned theta", "optimizer"), data = "psid.csv", factors = list(person = NA), source = fw("psid"),
  formula = log(income) ~ year * sex + age + educ + (year | person), kr = FALSE, ranova = FALSE)
case("sorghum", desc = "Randomized complete blocks, 18 genotypes, 4 blocks (environment E3)", covers = c("published", "RCBD", "KR", "emmeans"), data = "sorghum_e3.csv", source = "R package agridat (GitHub kwstat/agridat, MIT licence), data/omer.sorghum.txt, rows with env = E3; Omer, Abdalla, Mohammed & Singh (2015), Communications in Biometry and Crop Science 10, 1-11", formula = yield ~ gen + (1 | rep),
  krmod = list(gen = list(yield ~ gen + (1 | rep), yield ~ 1 + (1 | rep))), rlrt = list(rep = list(m = yield ~ gen + (1 | rep))), profile = FALSE,
  emm = list(gen = list(specs = "~ gen")), also = function(m, d) { l <- lm(yield ~ gen + rep, d); s <- summary(l)$coefficients
    list(lm_fixed_blocks = list(formula = "yield ~ gen + rep", names = A(rownames(s)), estimate = A(s[, 1]), se = A(s[, 2]), t = A(s[, 3]), p = A(s[, 4]), sigma = sigma(l), df = df.residual(l), r2 = summary(l)$r.squared, adj_r2 = summary(l)$adj.r.squared, F = unname(summary(l)$fstatistic[1]))) })
pot_src <- "Cochran & Cox (1957) Experimental Designs, 2nd ed., section 4.23 (strength index of cotton, 5 rates of K2O, 3 blocks)"
pot_emm <- list(K2O = list(specs = "~ K2O_lbac", contr = list(first_to_last = list("c(1, 0, 0, 0, -1)" = c(1, 0, 0, 0, -1)), pairwise = "pairwise")))
case("potassium", desc = "Randomized complete blocks in the published version; the values of block 2 are the book's plus 0.2 (see README)", covers = c("published", "RCBD", "KR", "emmeans"), data = "potassium.csv", factors = list(K2O_lbac = NA, rep = NA), source = paste(pot_src, "with block 2 raised by 0.2: reconstructed from the published means"), formula = yield ~ K2O_lbac + (1 | rep),
  emm = pot_emm, krmod = list(K2O = list(yield ~ K2O_lbac + (1 | rep), yield ~ 1 + (1 | rep))), rlrt = list(rep = list(m = yield ~ K2O_lbac + (1 | rep))), profile = TRUE,
  also = function(m, d) { l <- lm(yield ~ K2O_lbac + rep, d); e <- emmeans(l, ~K2O_lbac); cc <- contrast(e, list("c(1, 0, 0, 0, -1)" = c(1, 0, 0, 0, -1))); list(fixed_blocks = list(emmeans = as_cols(as.data.frame(e)), contrast = as_cols(as.data.frame(cc)))) })
case("potassium_book", desc = "The same design with the book's values: a very small block variance", covers = c("RCBD", "KR", "emmeans", "near-zero variance"), data = "potassium_book.csv", factors = list(K2O_lbac = NA, rep = NA), source = pot_src, formula = yield ~ K2O_lbac + (1 | rep),
  emm = pot_emm, krmod = list(K2O = list(yield ~ K2O_lbac + (1 | rep), yield ~ 1 + (1 | rep))), rlrt = list(rep = list(m = yield ~ K2O_lbac + (1 | rep))))
case("pots", desc = "The plant-height layout of a lecture: 2 moisture levels, 4 pots, 3 or 2 seedlings; the heights are MADE UP (the lecture has none)", covers = c("published", "unbalanced nested", "structure"), data = "pots.csv", source = "layout: lecture notes (3 slides of an LMM lecture); heights invented for this file", formula = height ~ moisture + (1 | pot),
  krmod = list(moisture = list(height ~ moisture + (1 | pot), height ~ 1 + (1 | pot))),
  also = function(m, d) { Z <- t(as.matrix(getME(m, "Zt"))); X3 <- cbind(1, outer(as.character(d$moisture), c("m1", "m2"), "==") * 1)
    f <- gl(3, 2); Ji <- t(as(f, "sparseMatrix")); Xi <- cbind(1, rep.int(c(-1, 1), 3L)); Zi <- t(KhatriRao(t(Ji), t(Xi)))
    list(structure = list(X_overparameterized = mat(X3), Z = mat(Z), ZZt = mat(Z %*% t(Z)), V_over_sigma2 = mat(diag(10) + getME(m, "theta")^2 * Z %*% t(Z)),
      lme4_vignette = list(f = A(as.character(f)), Ji = mat(Ji), Xi = mat(Xi), Zi = mat(Zi)))) })

## -- sleepstudy ---------------------------------------------------------------------------
ss <- L4("sleepstudy", "Belenky et al. (2003) J. Sleep Research 12, 1-12"); sf <- list(Subject = NA)
case("sleepstudy", desc = "Correlated random intercept and slope", covers = c("slopes", "KR", "profile CI"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + (Days | Subject), sm = "MixedLM.from_formula('Reaction ~ Days', data, groups='Subject', re_formula='~Days')",
  profile = TRUE, krmod = list(Days = list(Reaction ~ Days + (Days | Subject), Reaction ~ 1 + (Days | Subject)), quad = list(Reaction ~ Days + I(Days^2) + (Days | Subject), Reaction ~ Days + (Days | Subject))),
  lrt = list(slope = list(Reaction ~ Days + (Days | Subject), Reaction ~ Days + (1 | Subject)), correlation = list(Reaction ~ Days + (Days | Subject), Reaction ~ Days + (Days || Subject))))
case("sleepstudy_ml", desc = "The same by ML", covers = c("slopes", "ML", "profile CI"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + (Days | Subject), REML = FALSE, profile = TRUE)
case("sleepstudy_uncorr", desc = "Uncorrelated intercept and slope; RLRT of each", covers = c("uncorrelated slopes", "RLRT multi-term", "profile CI"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + (Days || Subject), profile = TRUE,
  rlrt = list(slope = list(m = Reaction ~ Days + (0 + Days | Subject), mA = Reaction ~ Days + (1 | Subject) + (0 + Days | Subject), m0 = Reaction ~ Days + (1 | Subject)),
    intercept = list(m = Reaction ~ Days + (1 | Subject), mA = Reaction ~ Days + (1 | Subject) + (0 + Days | Subject), m0 = Reaction ~ Days + (0 + Days | Subject))))
case("sleepstudy_int", desc = "Random intercept only", covers = c("random intercept", "RLRT", "KR"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + (1 | Subject), profile = TRUE, rlrt = list(Subject = list(m = Reaction ~ Days + (1 | Subject))))
case("sleepstudy_weights", desc = "Prior weights (column w)", covers = c("weights"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + (Days | Subject), weights = "w", ranova = FALSE, drop1 = FALSE, profile = TRUE)
case("sleepstudy_weights_ml", desc = "Prior weights (column w), ML", covers = c("weights", "ML"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + (1 | Subject), weights = "w", REML = FALSE, ranova = FALSE, drop1 = FALSE)
case("sleepstudy_offset", desc = "Known offset (column off)", covers = c("offset"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + (Days | Subject), offset = "off", ranova = FALSE, drop1 = FALSE)
case("sleepstudy_weights_offset", desc = "Weights and offset together", covers = c("weights", "offset"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + (1 | Subject), weights = "w", offset = "off", ranova = FALSE, drop1 = FALSE)
case("sleepstudy_noint", desc = "Random slope without random intercept", covers = c("0 + x | g"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + (0 + Days | Subject), ranova = FALSE)
case("sleepstudy_poly", desc = "Three correlated random terms (1, Days, Days^2)", covers = c("several slopes", "I()"), data = "sleepstudy.csv", factors = sf, source = ss, formula = Reaction ~ Days + I(Days^2) + (Days + I(Days^2) | Subject))

## -- classical lme4 sets --------------------------------------------------------------------
case("dyestuff", desc = "One-way random effects, balanced", covers = c("one-way", "profile CI", "RLRT"), data = "Dyestuff.csv", source = L4("Dyestuff", "Davies & Goldsmith (1972)"), formula = Yield ~ 1 + (1 | Batch), profile = TRUE, lm_null = TRUE, rlrt = list(Batch = list(m = Yield ~ 1 + (1 | Batch))))
case("dyestuff_ml", desc = "The same by ML", covers = c("one-way", "ML", "profile CI", "exactLRT"), data = "Dyestuff.csv", source = L4("Dyestuff", "Davies & Goldsmith (1972)"), formula = Yield ~ 1 + (1 | Batch), REML = FALSE, profile = TRUE, lm_null = TRUE, rlrt = list(Batch = list(type = "LRT", m = Yield ~ 1 + (1 | Batch), m0 = Yield ~ 1)))
case("dyestuff2", desc = "Singular: the estimated variance is exactly zero", covers = c("singular", "RLRT = 0"), data = "Dyestuff2.csv", source = L4("Dyestuff2", "Box & Tiao (1973), simulated"), formula = Yield ~ 1 + (1 | Batch), lm_null = TRUE, rlrt = list(Batch = list(m = Yield ~ 1 + (1 | Batch))), profile = TRUE)
case("dyestuff2_ml", desc = "Singular, ML", covers = c("singular", "ML"), data = "Dyestuff2.csv", source = L4("Dyestuff2", "Box & Tiao (1973), simulated"), formula = Yield ~ 1 + (1 | Batch), REML = FALSE)
pen <- L4("Penicillin", "Davies & Goldsmith (1972)")
case("penicillin", desc = "Crossed random effects, balanced", covers = c("crossed", "RLRT multi-term", "profile CI"), data = "Penicillin.csv", source = pen, formula = diameter ~ 1 + (1 | plate) + (1 | sample), profile = TRUE, sm = "statsmodels: one group for all rows, vc_formula={'plate': '0+C(plate)', 'sample': '0+C(sample)'}",
  rlrt = list(plate = list(m = diameter ~ 1 + (1 | plate), mA = diameter ~ 1 + (1 | plate) + (1 | sample), m0 = diameter ~ 1 + (1 | sample)), sample = list(m = diameter ~ 1 + (1 | sample), mA = diameter ~ 1 + (1 | plate) + (1 | sample), m0 = diameter ~ 1 + (1 | plate))))
case("penicillin_ml", desc = "The same by ML", covers = c("crossed", "ML"), data = "Penicillin.csv", source = pen, formula = diameter ~ 1 + (1 | plate) + (1 | sample), REML = FALSE)
pas <- L4("Pastes", "Davies & Goldsmith (1972)")
case("pastes", desc = "Nested by the / operator: (1 | batch/cask) = (1 | batch) + (1 | batch:cask); written as lme4 expands it, cask within batch first", covers = c("nested", "/ operator", "RLRT multi-term", "profile CI"), data = "Pastes.csv", source = pas, formula = strength ~ 1 + (1 | batch/cask), profile = TRUE,
  rlrt = list(cask = list(m = strength ~ 1 + (1 | batch:cask), mA = strength ~ 1 + (1 | batch) + (1 | batch:cask), m0 = strength ~ 1 + (1 | batch)), batch = list(m = strength ~ 1 + (1 | batch), mA = strength ~ 1 + (1 | batch) + (1 | batch:cask), m0 = strength ~ 1 + (1 | batch:cask))))
case("pastes_ml", desc = "The same by ML", covers = c("nested", "ML"), data = "Pastes.csv", source = pas, formula = strength ~ 1 + (1 | batch/cask), REML = FALSE)
ck <- L4("cake", "Cook (1938); Cochran & Cox (1957) table 7.5")
case("cake", desc = "Split plot, 15 replicates within 3 recipes, 6 temperatures as a factor", covers = c("split plot", "g1:g2", "KR", "emmeans"), data = "cake.csv", factors = list(temperature = NA, replicate = NA), source = ck, formula = angle ~ recipe * temperature + (1 | recipe:replicate),
  krmod = list(interaction = list(angle ~ recipe * temperature + (1 | recipe:replicate), angle ~ recipe + temperature + (1 | recipe:replicate)), recipe = list(angle ~ recipe + temperature + (1 | recipe:replicate), angle ~ temperature + (1 | recipe:replicate))),
  emm = list(recipe = list(specs = "~ recipe", contr = list(pairwise = "pairwise"))), rlrt = list(replicate = list(m = angle ~ recipe * temperature + (1 | recipe:replicate))))
case("cake_temp", desc = "The same, temperature numeric; replicates crossed with recipes as well", covers = c("crossed + nested", "numeric covariate", "KR"), data = "cake.csv", factors = list(temperature = NA, replicate = NA), source = ck, formula = angle ~ recipe + temp + (1 | replicate) + (1 | recipe:replicate), step = TRUE,
  krmod = list(recipe = list(angle ~ recipe + temp + (1 | replicate) + (1 | recipe:replicate), angle ~ temp + (1 | replicate) + (1 | recipe:replicate))))
ie <- L4("InstEval", "ETH Zurich lecture evaluations"); ief <- list(s = NA, d = NA, dept = NA, service = NA, studage = NA, lectage = NA)
case("insteval", desc = "Large, crossed (2972 students, 1128 lecturers, 14 departments), n = 73421", covers = c("big", "crossed"), data = "InstEval.csv.gz", factors = ief, source = ie, formula = y ~ service + (1 | s) + (1 | d) + (1 | dept), big = TRUE, kr = FALSE)
case("insteval_ml", desc = "The same by ML", covers = c("big", "crossed", "ML"), data = "InstEval.csv.gz", factors = ief, source = ie, formula = y ~ service + (1 | s) + (1 | d) + (1 | dept), big = TRUE, REML = FALSE, kr = FALSE, satterthwaite = FALSE)
case("insteval_inter", desc = "Large, random service by department (factor slopes) beside two crossed factors", covers = c("big", "crossed", "0 + f | g"), data = "InstEval.csv.gz", factors = ief, source = ie, formula = y ~ service + studage + lectage + (1 | s) + (1 | d) + (0 + service | dept), big = TRUE, kr = FALSE, satterthwaite = FALSE)

## -- designs from nlme / pbkrtest -------------------------------------------------------------
oat <- NL("Oats", "Yates (1935); Venables & Ripley MASS"); 
case("oats", desc = "Split plot, nitrogen as a factor", covers = c("split plot", "nested", "KR", "emmeans", "profile CI"), data = "Oats.csv", source = oat, formula = yield ~ nitroF * Variety + (1 | Block/Variety), profile = FALSE,
  krmod = list(interaction = list(yield ~ nitroF * Variety + (1 | Block/Variety), yield ~ nitroF + Variety + (1 | Block/Variety)), Variety = list(yield ~ nitroF + Variety + (1 | Block/Variety), yield ~ nitroF + (1 | Block/Variety)), nitro = list(yield ~ nitroF + Variety + (1 | Block/Variety), yield ~ Variety + (1 | Block/Variety))),
  emm = list(nitro = list(specs = "~ nitroF", contr = list(pairwise = "pairwise", poly = "poly")), Variety = list(specs = "~ Variety", contr = list(pairwise = "pairwise")), cells = list(specs = "~ nitroF | Variety", by = "Variety", contr = list(pairwise = "pairwise"))),
  rlrt = list(subplot = list(m = yield ~ nitroF * Variety + (1 | Block:Variety), mA = yield ~ nitroF * Variety + (1 | Block) + (1 | Block:Variety), m0 = yield ~ nitroF * Variety + (1 | Block)), block = list(m = yield ~ nitroF * Variety + (1 | Block), mA = yield ~ nitroF * Variety + (1 | Block) + (1 | Block:Variety), m0 = yield ~ nitroF * Variety + (1 | Block:Variety))))
case("oats_linear", desc = "Split plot, nitrogen linear, additive", covers = c("split plot", "nested", "KR", "profile CI"), data = "Oats.csv", source = oat, formula = yield ~ nitro + Variety + (1 | Block/Variety), profile = TRUE, step = TRUE, emm = list(Variety = list(specs = "~ Variety", contr = list(pairwise = "pairwise"))))
mc <- NL("Machines"); mcf <- list(Worker = NA)
case("machines_nested", desc = "(1 | Worker/Machine)", covers = c("nested", "KR", "profile CI", "emmeans"), data = "Machines.csv", factors = mcf, source = mc, formula = score ~ Machine + (1 | Worker/Machine), profile = TRUE, krmod = list(Machine = list(score ~ Machine + (1 | Worker/Machine), score ~ 1 + (1 | Worker/Machine))), emm = list(Machine = list(specs = "~ Machine", contr = list(pairwise = "pairwise"))),
  rlrt = list(interaction = list(m = score ~ Machine + (1 | Worker:Machine), mA = score ~ Machine + (1 | Worker) + (1 | Worker:Machine), m0 = score ~ Machine + (1 | Worker))))
case("machines_slope", desc = "Factor random slopes (Machine | Worker), 6 theta", covers = c("factor slopes", "KR"), data = "Machines.csv", factors = mcf, source = mc, formula = score ~ Machine + (Machine | Worker), krmod = list(Machine = list(score ~ Machine + (Machine | Worker), score ~ 1 + (Machine | Worker))))
case("machines_cellmeans", desc = "(0 + Machine | Worker): the same model, other parametrization", covers = c("0 + f | g"), data = "Machines.csv", factors = mcf, source = mc, formula = score ~ Machine + (0 + Machine | Worker))
case("orthodont", desc = "Growth curves", covers = c("slopes", "KR", "profile CI"), data = "Orthodont.csv", source = NL("Orthodont", "Potthoff & Roy (1964)"), formula = distance ~ age * Sex + (age | Subject), profile = TRUE, krmod = list(interaction = list(distance ~ age * Sex + (age | Subject), distance ~ age + Sex + (age | Subject))),
  lrt = list(slope = list(distance ~ age * Sex + (age | Subject), distance ~ age * Sex + (1 | Subject))))
case("ergostool", desc = "Randomized complete blocks", covers = c("RCBD", "KR", "profile CI", "emmeans", "RLRT"), data = "ergoStool.csv", factors = list(Subject = NA), source = NL("ergoStool"), formula = effort ~ Type + (1 | Subject), profile = TRUE, krmod = list(Type = list(effort ~ Type + (1 | Subject), effort ~ 1 + (1 | Subject))), emm = list(Type = list(specs = "~ Type", contr = list(pairwise = "pairwise"))), rlrt = list(Subject = list(m = effort ~ Type + (1 | Subject))))
case("rail", desc = "One-way random effects", covers = c("one-way", "profile CI", "RLRT"), data = "Rail.csv", factors = list(Rail = NA), source = NL("Rail"), formula = travel ~ 1 + (1 | Rail), profile = TRUE, rlrt = list(Rail = list(m = travel ~ 1 + (1 | Rail))))
bt <- "R package pbkrtest 0.5.2, object beets; Halekoh & Hojsgaard (2014) J. Stat. Software 59(9)"
case("beets", desc = "Split plot sugar beets (the pbkrtest paper)", covers = c("split plot", "KR"), data = "beets.csv", source = bt, formula = sugpct ~ block + sow + harvest + (1 | block:harvest),
  krmod = list(harvest = list(sugpct ~ block + sow + harvest + (1 | block:harvest), sugpct ~ block + sow + (1 | block:harvest)), sow = list(sugpct ~ block + sow + harvest + (1 | block:harvest), sugpct ~ block + harvest + (1 | block:harvest)), both = list(sugpct ~ block + sow + harvest + (1 | block:harvest), sugpct ~ block + (1 | block:harvest))),
  emm = list(sow = list(specs = "~ sow", contr = list(pairwise = "pairwise")), harvest = list(specs = "~ harvest", contr = list(pairwise = "pairwise"))))
case("beets_yield", desc = "The same for the yield", covers = c("split plot", "KR"), data = "beets.csv", source = bt, formula = yield ~ block + sow + harvest + (1 | block:harvest), krmod = list(harvest = list(yield ~ block + sow + harvest + (1 | block:harvest), yield ~ block + sow + (1 | block:harvest))))

## -- for later use: GLMM ------------------------------------------------------------------------
glmm("glmm_cbpp", desc = "Binomial with sizes: cbind(incidence, size - incidence)", covers = c("binomial", "Laplace", "AGQ"), data = "cbpp.csv", factors = list(herd = NA, period = NA), source = L4("cbpp", "Lesnoff et al. (2004)"), formula = cbind(incidence, size - incidence) ~ period + (1 | herd), family = quote(binomial), family_text = "binomial(logit)", nAGQ = c(1, 0, 9, 25))
glmm("glmm_grouseticks", desc = "Poisson, three random intercepts with observation level", covers = c("poisson", "crossed/nested", "overdispersion"), data = "grouseticks.csv", factors = list(BROOD = NA, INDEX = NA, LOCATION = NA, YEAR = NA), source = L4("grouseticks", "Elston et al. (2001)"), formula = TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION), family = quote(poisson), family_text = "poisson(log)", nAGQ = c(1, 0))
glmm("glmm_verbagg", desc = "Bernoulli, crossed item and subject, n = 7584; the response is 1 for Y", covers = c("bernoulli", "crossed", "big"), data = "VerbAgg.csv.gz", factors = list(id = NA, r2 = c("N", "Y"), btype = c("curse", "scold", "shout"), situ = c("other", "self"), mode = c("want", "do"), Gender = c("F", "M")), source = L4("VerbAgg", "De Boeck & Wilson (2004)"), formula = r2 ~ (Anger + Gender + btype + situ)^2 + (1 | id) + (1 | item), family = quote(binomial), family_text = "binomial(logit)", nAGQ = c(1, 0))
glmm("glmm_verbagg_agq", desc = "Bernoulli, one scalar random effect", covers = c("bernoulli", "AGQ"), data = "VerbAgg.csv.gz", factors = list(id = NA, r2 = c("N", "Y"), btype = c("curse", "scold", "shout"), situ = c("other", "self"), mode = c("want", "do"), Gender = c("F", "M")), source = L4("VerbAgg", "De Boeck & Wilson (2004)"), formula = r2 ~ Anger + Gender + btype + situ + mode + (1 | id), family = quote(binomial), family_text = "binomial(logit)", nAGQ = c(1, 0, 9, 25))

## -- for later use: nlme --------------------------------------------------------------------------
nlmecase("lme_ovary", desc = "Serial correlation within mares", covers = c("corAR1", "corARMA", "lme", "gls"), data = "Ovary.csv", factors = list(Mare = NA), source = NL("Ovary", "Pierson & Ginther (1987)"), calls = list(
  gls_ar1 = quote(gls(follicles ~ sin(2 * pi * Time) + cos(2 * pi * Time), dat, correlation = corAR1(form = ~ 1 | Mare), control = GL)),
  gls_ar1_ml = quote(gls(follicles ~ sin(2 * pi * Time) + cos(2 * pi * Time), dat, correlation = corAR1(form = ~ 1 | Mare), method = "ML", control = GL)),
  lme_iid = quote(lme(follicles ~ sin(2 * pi * Time) + cos(2 * pi * Time), dat, random = ~ 1 | Mare, control = LC)),
  lme_ar1 = quote(lme(follicles ~ sin(2 * pi * Time) + cos(2 * pi * Time), dat, random = ~ 1 | Mare, correlation = corAR1(form = ~ 1 | Mare), control = LC)),
  lme_ar1_slope = quote(lme(follicles ~ sin(2 * pi * Time) + cos(2 * pi * Time), dat, random = list(Mare = pdDiag(~ sin(2 * pi * Time))), correlation = corAR1(), control = LC)),
  gls_compsymm = quote(gls(follicles ~ sin(2 * pi * Time) + cos(2 * pi * Time), dat, correlation = corCompSymm(form = ~ 1 | Mare), control = GL))))
nlmecase("lme_bodyweight", desc = "Irregular times, continuous AR(1), power of the mean", covers = c("corCAR1", "corExp", "varPower"), data = "BodyWeight.csv", factors = list(Rat = NA, Diet = NA), source = NL("BodyWeight", "Hand & Crowder (1996)"), calls = list(
  lme_iid = quote(lme(weight ~ Time * Diet, dat, random = ~ Time | Rat, control = LC)),
  lme_varpower = quote(lme(weight ~ Time * Diet, dat, random = ~ Time | Rat, weights = varPower(), control = LC)),
  lme_car1 = quote(lme(weight ~ Time * Diet, dat, random = ~ Time | Rat, correlation = corCAR1(form = ~ Time | Rat), control = LC)),
  lme_varpower_exp = quote(lme(weight ~ Time * Diet, dat, random = ~ Time | Rat, weights = varPower(), correlation = corExp(form = ~ Time), control = LC)),
  gls_car1 = quote(gls(weight ~ Time * Diet, dat, correlation = corCAR1(form = ~ Time | Rat), control = GL)),
  lme_int_car1_ml = quote(lme(weight ~ Time * Diet, dat, random = ~ 1 | Rat, correlation = corCAR1(form = ~ Time | Rat), method = "ML", control = LC))))
nlmecase("lme_orthodont", desc = "Heteroscedastic by sex; compound symmetry; general correlation", covers = c("varIdent", "corCompSymm", "corSymm"), data = "Orthodont.csv", factors = list(Sex = c("Male", "Female")), source = NL("Orthodont", "Potthoff & Roy (1964)"), calls = list(
  lme_iid = quote(lme(distance ~ Sex * I(age - 11), dat, random = ~ I(age - 11) | Subject, control = LC)),
  lme_varident = quote(lme(distance ~ Sex * I(age - 11), dat, random = ~ I(age - 11) | Subject, weights = varIdent(form = ~ 1 | Sex), control = LC)),
  gls_compsymm = quote(gls(distance ~ Sex * I(age - 11), dat, correlation = corCompSymm(form = ~ 1 | Subject), weights = varIdent(form = ~ 1 | Sex), control = GL)),
  gls_symm = quote(gls(distance ~ Sex * I(age - 11), dat, correlation = corSymm(form = ~ 1 | Subject), weights = varIdent(form = ~ 1 | age), control = GL)),
  gls_ar1 = quote(gls(distance ~ Sex * I(age - 11), dat, correlation = corAR1(form = ~ 1 | Subject), method = "ML", control = GL))))
nlmecase("lme_dialyzer", desc = "Variance a power of the pressure", covers = c("varPower(form=)", "varIdent", "corAR1"), data = "Dialyzer.csv", factors = list(Subject = NA, QB = NA), source = NL("Dialyzer", "Vonesh & Carter (1992)"), calls = list(
  lme_iid = quote(lme(rate ~ (pressure + I(pressure^2) + I(pressure^3) + I(pressure^4)) * QB, dat, random = ~ pressure + I(pressure^2) | Subject, control = LC)),
  lme_varpower = quote(lme(rate ~ (pressure + I(pressure^2) + I(pressure^3) + I(pressure^4)) * QB, dat, random = ~ pressure + I(pressure^2) | Subject, weights = varPower(form = ~ pressure), control = LC)),
  gls_iid = quote(gls(rate ~ (pressure + I(pressure^2) + I(pressure^3) + I(pressure^4)) * QB, dat, control = GL)),
  gls_varpower = quote(gls(rate ~ (pressure + I(pressure^2) + I(pressure^3) + I(pressure^4)) * QB, dat, weights = varPower(form = ~ pressure), control = GL)),
  gls_varpower_ar1 = quote(gls(rate ~ (pressure + I(pressure^2) + I(pressure^3) + I(pressure^4)) * QB, dat, weights = varPower(form = ~ pressure), correlation = corAR1(0.77, form = ~ 1 | Subject), control = GL))))

## -- for later use: panels ---------------------------------------------------------------------------
pg <- list(c("pooling", "individual"), c("within", "individual"), c("within", "twoways"), c("between", "individual"), c("random", "individual", "swar"), c("random", "individual", "amemiya"), c("random", "individual", "walhus"), c("random", "individual", "nerlove"), c("random", "time", "swar"), c("random", "twoways", "swar"), c("random", "twoways", "amemiya"))
panelcase("panel_grunfeld", desc = "Investment of 10 firms, 20 years", covers = c("random effects", "Hausman"), data = "Grunfeld.csv", source = "R package plm 2.6-2, object Grunfeld; Grunfeld (1958)", formula = inv ~ value + capital, index = c("firm", "year"), grid = pg, hausman = c("individual", "time"))
panelcase("panel_produc", desc = "Productivity of 48 states, 17 years", covers = c("random effects", "Hausman"), data = "Produc.csv", source = "R package plm 2.6-2, object Produc; Munnell (1990)", formula = log(gsp) ~ log(pcap) + log(pc) + log(emp) + unemp, index = c("state", "year"), grid = pg, hausman = c("individual"))

run_all()
