# abbnn_ip.xdc : out-of-context clock of @CLOCK@ MHz
# SPDX-FileCopyrightText: 2026 The abbnn authors
# SPDX-License-Identifier: Apache-2.0

# The block has one clock and no false or multicycle path; aresetn is synchronous to it. For synthesis out of context alone:
# in a design its clock is the design's.
create_clock -name aclk -period @PERIOD@ [get_ports aclk]
