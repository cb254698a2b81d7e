"""Jobs: recordings handed over now and collected later, whatever happens to the process meanwhile."""
