# Prints the least REML criterion that lme4's optimizers reach on one model.
# Arguments: folder of columns, formula, grouping factors.
suppressMessages(library(lme4))
here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
source(file.path(here, "columns.R"))
args <- commandArgs(trailingOnly = TRUE)
data <- read_columns(args[1], strsplit(args[3], ",")[[1]])
controls <- list(
  lmerControl("nloptwrap", calc.derivs = FALSE),
  lmerControl("bobyqa", calc.derivs = FALSE, optCtrl = list(maxfun = 2e4)),
  lmerControl("nloptwrap", calc.derivs = FALSE, optCtrl = list(
    maxeval = 2e4, xtol_abs = 1e-10, ftol_abs = 1e-10
  ))
)
criterion <- function(control) {
  model <- suppressMessages(suppressWarnings(
    lmer(as.formula(args[2]), data, control = control)
  ))
  -2 * as.numeric(logLik(model))
}
cat(format(min(vapply(controls, criterion, 0)), digits = 17), "\n")
