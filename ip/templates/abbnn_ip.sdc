# abbnn_ip.sdc : one clock of @CLOCK@ MHz
# SPDX-FileCopyrightText: 2026 The abbnn authors
# SPDX-License-Identifier: Apache-2.0

# The block has one clock and no false or multicycle path; aresetn is synchronous to it.
create_clock -name aclk -period @PERIOD@ [get_ports aclk]

# A third of the period is for what is outside.
set_input_delay  @MARGIN@ -clock aclk [get_ports {@INPUTS@}]
set_output_delay @MARGIN@ -clock aclk [get_ports {@OUTPUTS@}]
