"""The network as an IP block: one folder that simulates and synthesises wherever it is copied."""
