"""cocotb testbenches: one `test_<module>.py` for every module of rtl/, on the tools of `tb.bench`."""
