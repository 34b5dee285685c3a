# vivado.tcl : synthesis, placement, routing and reports with AMD Vivado, no project
# SPDX-FileCopyrightText: 2026 The abbnn authors
# SPDX-License-Identifier: Apache-2.0
#
# Never run with Vivado by the authors, who have none: a test only sees that Tcl understands it and which commands it
# calls. Commands and options as AMD UG835 (Tcl command reference) and UG892 (non-project flow) have them.
#
#   python -m export mem NETWORK.safetensors --out MEM
#   vivado -mode batch -source syn/vivado.tcl -tclargs -mem MEM -out OUT -part PART [-top abbnn_axi] [-clock MHZ]
#          [-loadable 0] [-xdc PINS.xdc]
#
# Without -xdc the top is placed and routed out of context, with no pins, and there is no bitstream.

proc usage {message} {
    puts stderr "vivado.tcl: $message"
    exit 2
}

array set option {mem "" out "" part "" top abbnn_axi clock 100 loadable 0 xdc ""}
foreach {name value} $argv {
    set key [string range $name 1 end]
    if {[string index $name 0] ne "-" || ![info exists option($key)]} {
        usage "no option $name; there are -[join [lsort [array names option]] {, -}]"
    }
    set option($key) $value
}
if {[llength $argv] % 2} {
    usage "[lindex $argv end] has no value"
}
foreach key {mem out part} {
    if {$option($key) eq ""} {
        usage "-$key is missing"
    }
}
if {![string is double -strict $option(clock)] || $option(clock) <= 0} {
    usage "-clock $option(clock) is no frequency in MHz"
}
set mem [file normalize $option(mem)]
if {![file isfile [file join $mem abbnn_config.vh]]} {
    usage "$option(mem): no abbnn_config.vh; python -m export mem makes it"
}
if {$option(xdc) ne "" && ![file isfile $option(xdc)]} {
    usage "$option(xdc): no such file"
}

set rtl [file join [file dirname [file dirname [file normalize [info script]]]] rtl]
set sources [lsort [glob [file join $rtl *.v]]]
set out [file normalize $option(out)]
file mkdir $out

read_verilog $sources
set arguments [list -top $option(top) -part $option(part) -include_dirs $mem]
lappend arguments -verilog_define "ABBNN_MEM_DIR=\"$mem\""
if {$option(top) eq "abbnn_axi" || $option(top) eq "abbnn_core"} {
    lappend arguments -generic LOADABLE=$option(loadable)
}
if {$option(xdc) eq ""} {
    lappend arguments -mode out_of_context
} else {
    read_xdc $option(xdc)
}
synth_design {*}$arguments

# A pin file brings its own clock.
if {$option(xdc) eq ""} {
    set port [expr {$option(top) eq "abbnn_axi" ? "aclk" : "clk"}]
    create_clock -name $port -period [format %.3f [expr {1000.0 / $option(clock)}]] [get_ports $port]
}
opt_design
place_design
route_design

report_utilization -hierarchical -file [file join $out utilization.rpt]
report_timing_summary -file [file join $out timing_summary.rpt]
report_timing -max_paths 10 -file [file join $out timing.rpt]
write_checkpoint -force [file join $out $option(top).dcp]
if {$option(xdc) ne ""} {
    write_bitstream -force [file join $out $option(top).bit]
}
