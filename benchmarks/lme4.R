# Fits one model with lme4 and prints what peers.py reads: a name and a number a line.
# Arguments: folder of columns, formula, grouping factors, repeats, seconds at most, what.
suppressMessages(library(lme4))
here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
source(file.path(here, "columns.R"))
args <- commandArgs(trailingOnly = TRUE)
folder <- args[1]; formula <- as.formula(args[2]); factors <- strsplit(args[3], ",")[[1]]
repeats <- as.integer(args[4]); budget <- as.numeric(args[5]); what <- args[6]

data <- read_columns(folder, factors)

status <- function(field) {
  line <- grep(field, readLines("/proc/self/status"), value = TRUE)
  as.numeric(sub("[^0-9]*([0-9]+).*", "\\1", line)) / 1024
}
quiet <- function(e) suppressMessages(suppressWarnings(e))
fit <- function() quiet(lmer(formula, data))
tick <- function(f) system.time(f(), gcFirst = FALSE)[["elapsed"]]

small <- data.frame(y = c(1, 3, 2, 5, 4, 7), g = gl(2, 3))
invisible(quiet(lmer(y ~ 1 + (1 | g), small)))  # loads what is loaded late
invisible(gc())
cat("5", file = "/proc/self/clear_refs")
before <- status("VmRSS")
started <- proc.time()[["elapsed"]]
model <- fit()
first <- proc.time()[["elapsed"]] - started
cat("megabytes", status("VmHWM") - before, "\n")
cat("criterion", format(-2 * as.numeric(logLik(model)), digits = 17), "\n")
cat("evaluations", model@optinfo$feval, "\n")
if (what == "refits") {  # refit of a built model, simulation included; see README.md
  count <- repeats * 20L
  fit <- function() for (y in simulate(model, count, seed = 1)) quiet(refit(model, y))
  cat("each", count, "\n")
  first <- 0
  repeats <- 1L
}
times <- if (first > 5) first else numeric()
while (!length(times) || (length(times) < repeats && sum(times) < budget)) {
  # Several fits to a reading of R's clock, which ticks in milliseconds.
  inner <- if (first < 0.1 && what != "refits") 5L else 1L
  times <- c(times, tick(function() for (i in seq_len(inner)) fit()) / inner)
}
cat("times", format(times, digits = 8), "\n")
