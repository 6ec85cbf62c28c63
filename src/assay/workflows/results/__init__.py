"""What is done with finished runs: report, compare, judge, bundle, verify."""
