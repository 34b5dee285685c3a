# quartus.tcl : compilation with Intel Quartus Prime
# SPDX-FileCopyrightText: 2026 The abbnn authors
# SPDX-License-Identifier: Apache-2.0
#
# Never run with Quartus by the authors, who have none: a test only sees that Tcl understands it and which commands it
# calls. Commands and assignments as the Quartus Prime scripting guides (683325, 683432) have them.
#
#   python -m export mem NETWORK.safetensors --out MEM
#   quartus_sh -t syn/quartus.tcl -mem MEM -out OUT -family FAMILY -part DEVICE [-top abbnn_axi] [-clock MHZ]
#              [-loadable 0] [-pins PINS.tcl] [-sdc FILE.sdc]
#
# Without -pins all pins but the clock's are virtual. -pins is a file of set_location_assignment and the like. Without
# -sdc the one clock is that of the top.

package require ::quartus::project
package require ::quartus::flow

proc usage {message} {
    puts stderr "quartus.tcl: $message"
    exit 2
}

# quartus_sh gives the arguments in quartus(args).
if {[info exists quartus(args)]} {
    set argv $quartus(args)
}
array set option {mem "" out "" family "" part "" top abbnn_axi clock 100 loadable 0 pins "" sdc ""}
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
foreach key {mem out family part} {
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
foreach key {pins sdc} {
    if {$option($key) ne ""} {
        if {![file isfile $option($key)]} {
            usage "$option($key): no such file"
        }
        set option($key) [file normalize $option($key)]
    }
}

set rtl [file join [file dirname [file dirname [file normalize [info script]]]] rtl]
set sources [lsort [glob [file join $rtl *.v]]]
set port [expr {$option(top) eq "abbnn_axi" ? "aclk" : "clk"}]
file mkdir $option(out)
cd $option(out)
if {$option(sdc) eq ""} {
    set option(sdc) [file join [pwd] abbnn.sdc]
    set file [open $option(sdc) w]
    puts $file "create_clock -name $port -period [format %.3f [expr {1000.0 / $option(clock)}]] \[get_ports $port\]"
    close $file
}

project_new abbnn -overwrite
set_global_assignment -name FAMILY $option(family)
set_global_assignment -name DEVICE $option(part)
set_global_assignment -name TOP_LEVEL_ENTITY $option(top)
set_global_assignment -name VERILOG_INPUT_VERSION VERILOG_2001
set_global_assignment -name SEARCH_PATH $mem
set_global_assignment -name VERILOG_MACRO "ABBNN_MEM_DIR=\"$mem\""
foreach source $sources {
    set_global_assignment -name VERILOG_FILE $source
}
set_global_assignment -name SDC_FILE $option(sdc)
if {$option(top) eq "abbnn_axi" || $option(top) eq "abbnn_core"} {
    set_parameter -name LOADABLE $option(loadable)
}
if {$option(pins) eq ""} {
    set_instance_assignment -name VIRTUAL_PIN ON -to *
    set_instance_assignment -name VIRTUAL_PIN OFF -to $port
} else {
    source $option(pins)
}
execute_flow -compile
project_close
