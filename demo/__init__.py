"""The core in a web page: the Verilog itself, verilated and compiled to WebAssembly, cycle by cycle."""
