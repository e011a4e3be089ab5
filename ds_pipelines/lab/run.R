# Runs an R script for `rscripts.py`: Rscript run.R <script> <folder of the run's artifacts> <lab.R>
#
# Top-level values are printed, as Rscript does. Plots become plots/plot 001.png and so on. What R and its packages were
# is written when R ends, however it does; where it failed, as the line of the statement.

local({
  given <- commandArgs(trailingOnly = TRUE)
  folder <- given[2]
  for (each in c("plots", "environment")) dir.create(file.path(folder, each), FALSE, TRUE)
  options(device = function(...) {
    grDevices::png(file.path(folder, "plots", "plot %03d.png"), 900, 600, res = 110, type = "cairo")
  })
  reg.finalizer(globalenv(), function(...) {
    writeLines(utils::capture.output(utils::sessionInfo()), file.path(folder, "environment", "r-session.txt"))
    loaded <- sort(loadedNamespaces())
    versions <- vapply(loaded, function(each) as.character(getNamespaceVersion(each)), "")
    utils::write.csv(
      data.frame(package = loaded, version = versions), file.path(folder, "environment", "r-packages.csv"),
      row.names = FALSE
    )
  }, onexit = TRUE)

  failed <- function(line) writeLines(as.character(line), file.path(folder, "environment", "r-failed-line.txt"))
  statements <- tryCatch(
    parse(given[1], keep.source = TRUE, encoding = "UTF-8"),
    error = function(problem) {
      at <- regmatches(conditionMessage(problem), regexpr(":[0-9]+:", conditionMessage(problem)))
      failed(gsub(":", "", at))
      stop(problem)
    }
  )
  sys.source(given[3], envir = globalenv())
  places <- attr(statements, "srcref")
  for (number in seq_along(statements)) {
    withCallingHandlers(
      {
        value <- withVisible(eval(statements[[number]], globalenv()))
        if (value$visible) print(value$value)
      },
      error = function(problem) failed(places[[number]][1])
    )
  }
  grDevices::graphics.off()
})
