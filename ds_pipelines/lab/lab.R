# What an R script has of the lab; `ds-pipelines run` reads it in before the script.
#
#   orders <- lab_table("orders", since = "2025-03-01", columns = c("order_id", "placed_at"))
#   lab_metric("auc", 0.81)
#
# Tables come through the command `ds-pipelines table`: as Parquet where the package nanoparquet or arrow is installed,
# else as CSV, whose columns get the types that the extract's manifest names.

lab_table <- function(name, since = NULL, until = NULL, as_of = NULL, columns = NULL) {
  reader <- if (requireNamespace("nanoparquet", quietly = TRUE)) {
    nanoparquet::read_parquet
  } else if (requireNamespace("arrow", quietly = TRUE)) {
    arrow::read_parquet
  }
  file <- tempfile(fileext = if (is.null(reader)) ".csv" else ".parquet")
  manifest <- tempfile(fileext = ".json")
  on.exit(unlink(c(file, manifest)))
  bounds <- list(since = since, until = until, `as-of` = as_of)
  bounds <- bounds[!vapply(bounds, is.null, TRUE)]
  given <- unlist(lapply(names(bounds), function(each) c(paste0("--", each), format(bounds[[each]]))))
  if (!is.null(columns)) given <- c(given, "--columns", paste(columns, collapse = ","))
  given <- c("table", name, given, "--exact", "--to", file, "--manifest", manifest)
  said <- suppressWarnings(system2("ds-pipelines", shQuote(given), stdout = TRUE, stderr = TRUE))
  if (!file.exists(file)) stop(paste(said, collapse = "\n"), call. = FALSE)
  if (!is.null(reader)) return(as.data.frame(reader(file)))
  .lab_typed(utils::read.csv(file, colClasses = "character", na.strings = "", check.names = FALSE), manifest)
}

lab_metric <- function(name, value) {
  stopifnot(is.character(name), length(name) == 1L, !grepl("[\t\n]", name), is.numeric(value), length(value) == 1L, is.finite(value))
  cat(sprintf("\036lab_metric\t%s\t%s\n", name, format(value, digits = 17)))
  invisible(value)
}

.lab_typed <- function(frame, manifest) {
  text <- paste(readLines(manifest, warn = FALSE, encoding = "UTF-8"), collapse = "")
  pairs <- regmatches(text, gregexpr('"name":"[^"]+","dtype":"[^"]+"', text))[[1]]
  types <- sub('.*"dtype":"([^"]+)"$', "\\1", pairs)
  names(types) <- sub('^"name":"([^"]+)".*', "\\1", pairs)
  for (column in names(frame)) {
    type <- types[[column]]
    frame[[column]] <- if (grepl("^(U?Int|Float|Decimal)", type)) {
      as.numeric(frame[[column]])
    } else if (type == "Boolean") {
      frame[[column]] == "true"
    } else if (type == "Date") {
      as.Date(frame[[column]])
    } else if (grepl("^Datetime", type)) {
      as.POSIXct(sub("T", " ", sub("(Z|[+]00:?00)$", "", frame[[column]])), tz = "UTC")
    } else {
      frame[[column]]
    }
  }
  frame
}
