"""The tuner behind scripts/tune. Python 3.8 or later, standard library alone."""
