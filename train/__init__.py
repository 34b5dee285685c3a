"""Training of A&B BNN networks in PyTorch: `abbnn train`."""
