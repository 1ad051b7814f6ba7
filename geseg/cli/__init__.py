"""The command line: options, terminal, exit codes; no arithmetic."""
