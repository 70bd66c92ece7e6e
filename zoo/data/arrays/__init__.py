"""Images in memory or on disk: decoding, crops, drawing a few labels."""
