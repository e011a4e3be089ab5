# What an R script has of the lab; `ds-pipelines run` reads it in before the script.
#
#   orders <- lab_table("orders", since = "2025-03-01", columns = c("order_id", "placed_at"))
#   lab_metric("auc", 0.81)
#
# Tables come through the command `ds-pipelines table`: as Parquet where the package arrow or nanoparquet is installed,
# else as CSV. Whichever it is, columns get the types that the extract's manifest names.

lab_table <- function(name, since = NULL, until = NULL, as_of = NULL, columns = NULL) {
  reader <- .lab_reader()
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
  frame <- if (is.null(reader)) {
    utils::read.csv(file, colClasses = "character", na.strings = "", check.names = FALSE)
  } else {
    as.data.frame(reader(file))
  }
  .lab_typed(frame, manifest)
}

# What reads Parquet here; nothing if nothing does. An arrow that was built small lacks the compression of extracts.
.lab_reader <- function() {
  whole <- function() isTRUE(tryCatch(arrow::codec_is_available("zstd"), error = function(cause) FALSE))
  if (requireNamespace("arrow", quietly = TRUE) && whole()) return(arrow::read_parquet)
  if (requireNamespace("nanoparquet", quietly = TRUE)) nanoparquet::read_parquet
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
  for (column in names(frame)) frame[[column]] <- .lab_as(types[[column]], frame[[column]])
  frame
}

# A column as its type in the extract, whether it was read as text or as something like that type already.
.lab_as <- function(type, values) {
  if (grepl("^(U?Int|Float|Decimal)", type)) {
    as.numeric(values)
  } else if (type == "Boolean") {
    if (is.logical(values)) values else values == "true"
  } else if (type == "Date") {
    as.Date(values)
  } else if (grepl("^Datetime", type)) {
    if (inherits(values, "POSIXct")) .POSIXct(as.numeric(values), tz = "UTC") else .lab_moments(values)
  } else if (is.factor(values)) {
    as.character(values)
  } else {
    values
  }
}

# Moments in UTC of texts such as 2025-03-01T12:30:00.000000+0100; what states no offset is UTC.
.lab_moments <- function(texts) {
  stated <- sub("([+-][0-9]{2}):?([0-9]{2})$", "\\1\\2", sub("Z$", "+0000", texts))
  whole <- ifelse(grepl("[+-][0-9]{4}$", stated), stated, paste0(stated, "+0000"))
  as.POSIXct(whole, format = "%Y-%m-%dT%H:%M:%OS%z", tz = "UTC")
}
