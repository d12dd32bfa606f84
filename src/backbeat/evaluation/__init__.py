"""How good models are: scores with intervals on the pipeline's test splits and on any recordings; pictures; a report."""
