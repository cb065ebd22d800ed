# Inference on variances in R: prints what beside_variance_inference.py reads, a task and
# its seconds a line.  Arguments: folder of columns, simulations, replicates, repeats.
suppressMessages({library(lme4); library(RLRsim)})
here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
source(file.path(here, "columns.R"))
args <- commandArgs(trailingOnly = TRUE)
numbers <- as.integer(args[2:4])
fitted <- function(name, formula, factors) {
  suppressMessages(lmer(formula, read_columns(file.path(args[1], name), factors)))
}
seconds <- function(task) {
  invisible(gc())
  times <- vapply(seq_len(numbers[3]), function(i) system.time(task())[["elapsed"]], 0)
  median(times)
}

balanced <- fitted("balanced", y ~ x + (1 | g), "g")
unbalanced <- fitted("unbalanced", y ~ x + (1 | g), "g")
dyestuff <- fitted("dyestuff", Yield ~ 1 + (1 | Batch), "Batch")
sleepstudy <- fitted("sleepstudy", Reaction ~ Days + (Days | Subject), "Subject")
values <- function(model) c(fixef(model), getME(model, "theta"), sigma(model))
tasks <- list(
  rlrt_balanced = function() exactRLRT(balanced, nsim = numbers[1]),
  rlrt_unbalanced = function() exactRLRT(unbalanced, nsim = numbers[1]),
  profile_sleepstudy = function() profile(sleepstudy, signames = FALSE),
  bootstrap_dyestuff = function() bootMer(dyestuff, values, numbers[2]),
  bootstrap_sleepstudy = function() bootMer(sleepstudy, values, numbers[2])
)
for (name in names(tasks)) {
  taken <- suppressMessages(suppressWarnings(seconds(tasks[[name]])))
  if (startsWith(name, "bootstrap")) taken <- taken / numbers[2]
  cat(name, format(taken, digits = 10), "\n")
}
