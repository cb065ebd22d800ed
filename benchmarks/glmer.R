# Rscript glmer.R data.csv formula family weights repeat: seconds of CPU of glmer and its
# printed summary, evaluations of the deviance, and -2 log-likelihood, as one JSON line.
suppressMessages(library(lme4))
given <- commandArgs(trailingOnly = TRUE)
data <- read.csv(given[1], stringsAsFactors = TRUE)
for (name in strsplit(given[6], ",")[[1]]) data[[name]] <- factor(data[[name]])
data$weight__ <- if (nzchar(given[4])) data[[given[4]]] else 1
family <- get(given[3])()
seconds <- c()
for (turn in seq_len(as.integer(given[5]))) {
  start <- proc.time()
  fit <- suppressWarnings(suppressMessages(
    glmer(as.formula(given[2]), data, family, weights = weight__)))
  text <- capture.output(print(summary(fit)))
  seconds <- c(seconds, sum((proc.time() - start)[1:2]))
  if (sum(seconds) > 30) break
}
cat(sprintf('{"seconds": %.6f, "evaluations": %d, "deviance": %.9f}\n',
            min(seconds), as.integer(fit@optinfo$feval), -2 * as.numeric(logLik(fit))))
