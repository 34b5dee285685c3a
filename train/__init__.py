"""Training of A&B BNN networks in PyTorch: `python -m train`."""
