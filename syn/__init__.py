"""Synthesis: area of a network as Yosys maps it, what its memories became, and the points of the area model."""
