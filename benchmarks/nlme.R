# One model with nlme: prints what beside_nlme.py reads, a name and a number a line.
# Arguments: folder of columns, the call that fits ``data``.
suppressMessages(library(nlme))
here <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)))
source(file.path(here, "columns.R"))
args <- commandArgs(trailingOnly = TRUE)
data <- read_columns(args[1], character())
call <- parse(text = args[2])[[1]]

model <- eval(call)  # loads what is loaded late
times <- vapply(seq_len(3), function(i) {
  invisible(gc())
  sum(system.time(eval(call), gcFirst = FALSE)[1:2])
}, 0)
cat("seconds", min(times), "\n")
cat("deviance", format(-2 * as.numeric(logLik(model)), digits = 17), "\n")
