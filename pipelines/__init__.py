"""One thin module a DVC stage: settings in, one call, files out."""
