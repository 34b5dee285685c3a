"""From a float checkpoint to a frozen integer network, and from that to the files that the RTL reads."""
