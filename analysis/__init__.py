"""Analysis of finished evaluations: tables, plots and pictures; needs neither torch nor Ray."""
