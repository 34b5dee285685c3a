"""A&B BNN in hardware: training, golden model, export, pipeline, boards. See docs/architecture.md for the folders."""
