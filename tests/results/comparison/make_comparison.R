# R values for tests/test_anova_tables.py and tests/test_model_comparison.py: run here.
suppressMessages({library(lmerTest); library(pbkrtest)})
set.seed(1)
d <- expand.grid(a = factor(1:3), b = factor(1:2), c = factor(1:2), g = factor(1:8))
d <- d[sample(nrow(d), 70), ]
d$x <- rnorm(70) + as.numeric(d$b); d$z <- rnorm(70)
d$y <- round(rnorm(70) + as.numeric(d$a) * .5 + rnorm(8)[d$g] + d$x * .3, 3)
d$x <- round(d$x, 3); d$z <- round(d$z, 3)
crossed <- d
write.csv(crossed, "crossed.csv", row.names = FALSE)
missing_cell <- d[!(d$a == 3 & d$b == 2), ]
write.csv(missing_cell, "missing_cell.csv", row.names = FALSE)
s <- expand.grid(sub = factor(1:3), whole = factor(1:4), block = factor(1:5))
s$u <- round(rnorm(nrow(s)), 3)
s$y <- round(rnorm(nrow(s)) + 2 * rnorm(20)[as.numeric(s$whole:s$block)] + as.numeric(s$sub) * .4 + .5 * s$u, 3)
split_plot <- s[-c(2, 17, 33, 34, 58), ]
write.csv(split_plot, "split_plot.csv", row.names = FALSE)
control <- lmerControl(check.rankX = "silent.drop.cols", optCtrl = list(xtol_abs = 1e-13, ftol_abs = 1e-13))
fit <- function(f, data, REML = TRUE) suppressMessages(suppressWarnings(eval(bquote(
  lmer(.(as.formula(f, globalenv())), .(as.name(data)), REML = .(REML), control = control)), globalenv())))
cases <- rbind(
  expand.grid(data = c("crossed", "missing_cell"), formula = paste(c("y ~ a*b*c", "y ~ a*x",
    "y ~ a*x + b*z", "y ~ a:b", "y ~ x*z", "y ~ a*b*x", "y ~ b*a + x"), "+ (1 | g)"), stringsAsFactors = FALSE),
  expand.grid(data = "split_plot", formula = c("y ~ sub*whole + (1 | block/whole)",
    "y ~ u*sub + whole*sub + (1 | block) + (1 | block:whole)", "y ~ sub*whole*u + (1 | block/whole)"), stringsAsFactors = FALSE),
  expand.grid(data = c("crossed", "missing_cell"), formula = paste(c("y ~ a", "y ~ a + a:x", "y ~ a*b + z:a",
    "y ~ 0 + a + x"), "+ (1 | g)"), stringsAsFactors = FALSE),
  data.frame(data = "split_plot", formula = "y ~ whole + (1 | block/whole)"))
tables <- NULL
for (i in seq_len(nrow(cases))) {
  m <- fit(cases$formula[i], cases$data[i])
  for (type in 1:3) for (ddf in c("Satterthwaite", "Kenward-Roger")) {
    t <- suppressMessages(suppressWarnings(anova(m, type = type, ddf = ddf)))
    tables <- rbind(tables, data.frame(cases[i, ], type = type, df_method = tolower(ddf), term = rownames(t),
      sum_sq = t$"Sum Sq", num_df = t$NumDF, den_df = t$DenDF, F = t$"F value", p = t$"Pr(>F)", row.names = NULL))
  }
}
tables[6:10] <- lapply(tables[6:10], function(x) format(x, digits = 15))
write.csv(tables, "anova.csv", row.names = FALSE, quote = c(1, 2, 4, 5))
steps <- NULL
step_table <- function(m) suppressMessages(suppressWarnings(step(m)))
for (f in c("y ~ a*b*c + (1 | g)", "y ~ a*x + b + (x | g)", "y ~ a + x + z + (x + z || g)")) {
  m <- fit(f, "crossed"); s <- step_table(m)
  r <- as.data.frame(s$random); x <- as.data.frame(s$fixed)
  steps <- rbind(steps, data.frame(formula = f, part = "random", term = rownames(r), eliminated = r$Eliminated, statistic = r$LRT, p = r$"Pr(>Chisq)"),
    data.frame(formula = f, part = "fixed", term = rownames(x), eliminated = x$Eliminated, statistic = x$"F value", p = x$"Pr(>F)"))
}
steps[5:6] <- lapply(steps[5:6], function(x) format(x, digits = 15))
write.csv(steps, "step.csv", row.names = FALSE, quote = 1:3)
chisq <- NULL
for (i in seq_len(nrow(cases))) {
  t <- car::Anova(fit(cases$formula[i], cases$data[i]), type = 2)
  chisq <- rbind(chisq, data.frame(cases[i, ], term = rownames(t), chisq = t$Chisq, df = t$Df, row.names = NULL))
}
chisq$chisq <- format(chisq$chisq, digits = 15)
write.csv(chisq, "car.csv", row.names = FALSE, quote = 1:3)
# offset in the smaller model: a known slope
m <- fit("y ~ x + (1 | g)", "crossed", REML = FALSE); n <- fit("y ~ offset(0.5 * x) + (1 | g)", "crossed", REML = FALSE)
print(anova(n, m)); print(c(logLik(m), logLik(n)), digits = 15)
cat(sapply(c("lme4", "lmerTest", "pbkrtest", "car"), function(p) paste(p, packageVersion(p))), R.version.string, sep = "; ")
