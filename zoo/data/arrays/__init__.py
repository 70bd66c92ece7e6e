"""Pictures in memory or on disk: decoding, crops, draws."""
