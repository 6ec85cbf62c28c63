"""The forms that data sets are held in, one file for each."""
