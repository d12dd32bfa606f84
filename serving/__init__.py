"""The service: every model behind HTTP, packaged by BentoML."""
