"""The computer's side of a board: the register table, the link's packets and the commands that use them."""
