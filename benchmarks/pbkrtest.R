# Kenward-Roger's degrees of freedom of every coefficient with pbkrtest: prints what
# beside_pbkrtest.py reads, a name and numbers a line.
# Arguments: folder of columns, formula, grouping factors.
suppressMessages({library(lme4); library(pbkrtest)})
here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
source(file.path(here, "columns.R"))
args <- commandArgs(trailingOnly = TRUE)
data <- read_columns(args[1], strsplit(args[3], ",")[[1]])

status <- function(field) {
  line <- grep(field, readLines("/proc/self/status"), value = TRUE)
  as.numeric(sub("[^0-9]*([0-9]+).*", "\\1", line)) / 1024
}
# The adjusted covariance once, then each coefficient.
kenward_roger <- function(model) {
  adjusted <- vcovAdj(model)
  plain <- vcov(model)
  k <- nrow(plain)
  df <- vapply(seq_len(k), function(j) Lb_ddf(diag(k)[j, ], plain, adjusted), 0)
  list(se = sqrt(diag(as.matrix(adjusted))), df = df)
}

small <- data.frame(y = c(1, 3, 2, 5, 4, 7, 2, 8), x = 1:8, g = gl(4, 2))
invisible(suppressMessages(kenward_roger(lmer(y ~ x + (1 | g), small))))  # loads what is loaded late
fit <- system.time(model <- suppressMessages(lmer(as.formula(args[2]), data)))
invisible(gc())
cat("5", file = "/proc/self/clear_refs")
before <- status("VmRSS")
tests <- system.time(found <- kenward_roger(model), gcFirst = FALSE)
cat("fit", fit[["elapsed"]], "\n")
cat("tests", tests[["elapsed"]], "\n")
cat("megabytes", status("VmHWM") - before, "\n")
cat("process", status("VmHWM"), "\n")
cat("se", format(found$se, digits = 17), "\n")
cat("df", format(found$df, digits = 17), "\n")
