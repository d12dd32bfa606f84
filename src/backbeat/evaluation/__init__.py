"""How good models are: scores with intervals, on test splits and on any recordings; pictures; a report."""
