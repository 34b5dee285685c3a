"""The bit-exact integer reference model. NumPy only: it never imports torch or a simulator."""
