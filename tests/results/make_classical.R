# Analyses of variance and fits by group of the data beside this script:
#     Rscript make_classical.R > classical.json
# Made with R 4.2.2, nlme 3.1-162.
suppressMessages({library(nlme); library(jsonlite)})
read <- function(name, factors) {
  d <- read.csv(file.path("data", paste0(name, ".csv")), stringsAsFactors = TRUE)
  for (f in factors) d[[f]] <- factor(d[[f]])
  d
}
rows <- function(n, by, modulus, out) !((seq_len(n) * by) %% modulus %in% out)
frame <- function(a) list(source = trimws(rownames(a)), df = a[["Df"]], sum_sq = a[["Sum Sq"]],
                          f = a[["F value"]], p = a[["Pr(>F)"]])
strata <- function(a) do.call(rbind, lapply(summary(a), function(s) {
  t <- as.data.frame(s[[1]]); rownames(t) <- trimws(rownames(t)); t }))
table_of <- function(fit) { t <- strata(fit)
  list(source = rownames(t), df = t[["Df"]], sum_sq = t[["Sum Sq"]], f = t[["F value"]]) }

# anova(lm()): sequential sums of squares
sequential <- list()
d <- read("Pastes", c("batch", "cask"))
sequential$pastes <- frame(anova(lm(strength ~ batch / cask, d)))
sequential$pastes_unbalanced <-
  frame(anova(lm(strength ~ batch / cask, d[rows(nrow(d), 7, 10, c(0, 3)), ])))
d <- read("eggs", c("Lab", "Technician", "Sample"))
sequential$eggs <- frame(anova(lm(Fat ~ Lab / Technician / Sample, d)))
sequential$eggs_unbalanced <-
  frame(anova(lm(Fat ~ Lab / Technician / Sample, d[rows(nrow(d), 5, 13, c(1, 2)), ])))
d <- read("Penicillin", c("plate", "sample"))
sequential$penicillin <- frame(anova(lm(diameter ~ plate + sample, d)))
d <- read("sleepstudy", "Subject")
sequential$covariate <-
  frame(anova(lm(Reaction ~ Days + Subject, d[rows(nrow(d), 7, 11, c(0, 3, 4)), ])))
d <- read("Rail", "Rail")
sequential$rail <- frame(anova(lm(travel ~ Rail, d)))
d <- read("pulp", "operator")
sequential$pulp <- frame(anova(lm(bright ~ operator, d)))

# summary(aov(... + Error())): fixed effects in the strata of a split plot
d <- read("Oats", c("Block", "Variety"))
d$nitroF <- factor(d$nitro)
strata_of <- list(oats = table_of(aov(yield ~ nitroF * Variety + Error(Block / Variety), d)))

# nlme::lmList
fits <- function(f, name, group, x, keep = NULL) {
  d <- read(name, group)
  if (!is.null(keep)) d <- d[rows(nrow(d), keep[1], keep[2], keep[-(1:2)]), ]
  m <- lmList(f, d, na.action = na.fail)
  pooled <- summary(m); own <- summary(m, pool = FALSE)
  order <- levels(d[[group]])
  part <- function(s, what) lapply(setNames(dimnames(s$coefficients)[[3]],
    dimnames(s$coefficients)[[3]]), function(k) unname(s$coefficients[order, what, k]))
  y <- all.vars(f)[1]
  model <- function(rhs) lm(as.formula(paste(y, "~", rhs)), d)
  full <- model(paste0("0 + ", group, " + ", group, ":", x))
  test <- function(rhs) { a <- anova(model(rhs), full); c(a[2, "F"], a[2, "Df"], a[2, "Pr(>F)"]) }
  list(levels = order, coefficients = lapply(coef(m)[order, ], unname),
       bse_pooled = part(pooled, "Std. Error"), bse_own = part(own, "Std. Error"),
       p_pooled = part(pooled, "Pr(>|t|)"), p_own = part(own, "Pr(>|t|)"),
       sigma = unname(sapply(m[order], function(l) summary(l)$sigma)),
       pooled_sigma = as.numeric(pooledSD(m)), pooled_df = attr(pooledSD(m), "df"),
       lower = unname(intervals(m)[order, "lower", x]),
       upper = unname(intervals(m)[order, "upper", x]),
       poolability = test(x), same_slope = test(paste("0 +", group, "+", x)),
       same_intercept = test(paste0("1 + ", group, ":", x)))
}
lists <- list(
  sleepstudy = fits(Reaction ~ Days | Subject, "sleepstudy", "Subject", "Days"),
  sleepstudy_unbalanced = fits(Reaction ~ Days | Subject, "sleepstudy", "Subject", "Days",
                               c(7, 11, 0, 3, 4)),
  orthodont = fits(distance ~ age | Subject, "Orthodont", "Subject", "age"))

# t.test(slope ~ Sex), Welch's
d <- read("Orthodont", c("Subject", "Sex"))
slope <- coef(lmList(distance ~ age | Subject, d))
sex <- d$Sex[match(rownames(slope), d$Subject)]
t <- t.test(slope$age[sex == "Female"], slope$age[sex == "Male"])
welch <- list(statistic = unname(t$statistic), df = unname(t$parameter), pvalue = t$p.value,
              lower = t$conf.int[1], upper = t$conf.int[2], means = unname(t$estimate))
cat(toJSON(list(made_with = R.version.string, sequential = sequential, strata = strata_of,
                lists = lists, welch = welch), digits = NA, auto_unbox = TRUE, pretty = TRUE))
