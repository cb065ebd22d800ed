# Reads the columns that workloads.save wrote; those named in `factors` become factors.
read_columns <- function(folder, factors) {
  header <- read.table(
    file.path(folder, "columns.tsv"), sep = "\t", col.names = c("name", "kind")
  )
  read_column <- function(name, kind) {
    path <- file.path(folder, paste0(name, ".bin"))
    size <- if (kind == "double") 8 else 4
    x <- readBin(path, if (kind == "double") "double" else "integer", file.size(path) / size)
    if (kind == "category") {
      levels <- readLines(file.path(folder, paste0(name, ".levels")))
      factor(x, seq_along(levels) - 1L, levels)
    } else if (name %in% factors) factor(x) else x
  }
  as.data.frame(Map(read_column, setNames(nm = header$name), header$kind))
}
