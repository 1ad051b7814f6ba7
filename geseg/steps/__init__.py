"""The five steps, each a function from one file to the next; the only place that composes the other packages."""
