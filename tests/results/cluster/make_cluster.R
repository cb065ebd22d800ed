# Cluster-robust covariances of two models of unbalanced.csv, by clubSandwich 0.5.8
# (lme4 1.1-31, R 4.2.2): theta, then for each type the covariance by rows,
# Bell-McCaffrey df and the HTZ test of x = z = 0 (F, denominator df).
library(lme4)
library(clubSandwich)
d <- read.csv("unbalanced.csv")
d$g <- factor(d$g)
d$i <- factor(d$i)
tight <- lmerControl(optimizer = "nloptwrap", optCtrl = list(
  xtol_abs = 1e-13, ftol_abs = 1e-14, xtol_rel = 0, ftol_rel = 0, maxeval = 20000))
models <- list(
  slopes = lmer(y ~ x + z + (x | g), d, REML = TRUE, control = tight),
  nested = lmer(y ~ x + z + (1 | g/i), d, REML = FALSE, control = tight))
numbers <- function(x) paste0("[", paste(sprintf("%.15g", x), collapse = ", "), "]")
entries <- c()
for (name in names(models)) {
  m <- models[[name]]
  parts <- sprintf('"theta": %s', numbers(getME(m, "theta")))
  for (type in c("CR0", "CR1", "CR2", "CR3")) {
    v <- vcovCR(m, cluster = d$g, type = type)
    df <- coef_test(m, vcov = v, test = "Satterthwaite")$df_Satt
    w <- Wald_test(m, constraints = constrain_zero(2:3), vcov = v, test = "HTZ")
    parts <- c(parts, sprintf(
      '"%s": {"covariance": %s, "df": %s, "htz": %s}', type,
      numbers(t(as.matrix(v))), numbers(df), numbers(c(w$Fstat, w$df_denom))))
  }
  entries <- c(entries, sprintf('"%s": {%s}', name, paste(parts, collapse = ",\n  ")))
}
writeLines(paste0("{", paste(entries, collapse = ",\n"), "}"), "clubsandwich.json")
