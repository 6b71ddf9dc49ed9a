"""What people see: the terminal while a run goes on, tables after it, pages to pass on."""
