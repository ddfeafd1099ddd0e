"""What a person may do, once, for command line, REST and dashboard: it is done, audited, and answered by an outcome."""
